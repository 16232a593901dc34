package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A copy of the data directory of a process that is stopped, or suspended, knows all that
// was answered before: what waited is stored, and pings sent again are duplicates.
func TestCopyOfTheDataDirectory(t *testing.T) {
	for _, tt := range []struct {
		name string
		copy func(t *testing.T, p *process, from, to string)
	}{
		{"stopped", func(t *testing.T, p *process, from, to string) {
			if status := p.terminate(); status != exitOK {
				t.Fatalf("exit status %d", status)
			}
			runIn(t, ".", "cp", "-a", from, to)
		}},
		{"suspended", func(t *testing.T, p *process, from, to string) {
			p.suspend()
			runIn(t, ".", "cp", "-a", from, to)
			if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if resp := post(t, p.url, copiedPings(time.Now(), "later")); resp.StatusCode != http.StatusOK {
				t.Errorf("after the copy: %s", resp.Status)
			}
			p.kill()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
			pings := copiedPings(time.Now(), "rider")
			p := serve(t, dir, "http://127.0.0.1:1")
			if resp := post(t, p.url, pings); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
			tt.copy(t, p, dir, copied)

			influx := startInflux(t)
			p = serve(t, copied, influx.URL(), "--batch-wait=50ms", "--idle-flush=1ms")
			if said := verdictsOf(t, p, pings); !strings.HasPrefix(said, `{"accepted":0,"held":0,"redundant":0,"duplicate":20,`) {
				t.Errorf("the pings sent again: %s", said)
			}
			p.settled()
			eventually(t, "what was held is stored", func() bool {
				n, err := p.metric("pingline_holding")
				return err == nil && n == 0
			})
			p.settled()
			for i := range 10 {
				if n := len(shown(t, p.url, fmt.Sprintf("rider %d", i), 1000)); n != 2 {
					points, err := influx.Points(t.Context(), "pingline")
					t.Errorf("the track of rider %d has %d pings, and InfluxDB %d points: %v\n%s", i, n, len(points), err, points[:min(len(points), 100)])
				}
			}
		})
	}
}

func verdictsOf(t *testing.T, p *process, pings []byte) string {
	t.Helper()
	resp, err := http.Post(p.url+"/v1/pings", "", bytes.NewReader(pings))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// copiedPings are two pings of each of ten riders, of which the second is held.
func copiedPings(now time.Time, name string) []byte {
	var lines strings.Builder
	for i := range 10 {
		for j := range 2 {
			fmt.Fprintf(&lines, `{"rider_id":"%s %d","ts":%d,"lat":41.%d,"lon":-8}`+"\n", name, i, now.Add(time.Duration(j-60)*time.Second).UnixMilli(), i+j)
		}
	}
	return []byte(lines.String())
}

// suspend returns when no thread of the process runs any more.
func (p *process) suspend() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "each thread of the process is stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			p.t.Fatalf("threads %v, %v", threads, err)
		}
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if _, state, _ := strings.Cut(string(text), ") "); err != nil || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}
