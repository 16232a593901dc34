package rider

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/privacy"
	"pingline/internal/node"
	"pingline/internal/rights"
)

// processLog is a log that is written by several goroutines.
type processLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// pseudonymKey makes a key, and returns its file and the pseudonyms by it.
func pseudonymKey(t *testing.T) (path string, names *privacy.Pseudonyms) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pseudonyms")
	if err := privacy.MakeKey(path); err != nil {
		t.Fatal(err)
	}
	names, _, err := privacy.ReadPseudonyms(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, names
}

// get returns the body of an answer.
func (r *rig) get(url string) string {
	r.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Status + " " + string(text)
}

// firstEvent returns the first event of the stream of a box.
func (r *rig) firstEvent(box string) string {
	r.t.Helper()
	resp, err := http.Get(r.node.URL() + "/v1/stream?riders=1&res=8&bbox=" + box)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var event strings.Builder
	for in := bufio.NewReader(resp.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			r.t.Fatal(err, event.String())
		}
		if event.WriteString(line); strings.HasPrefix(line, "data: ") {
			return event.String()
		}
	}
}

// placesOf returns how a position looks wherever it may be: as digits, to a metre and as an
// integer, and as the four bytes that the log has.
func placesOf(p *pingline.Ping) (texts []string) {
	for _, v := range []int32{p.LatE7, p.LonE7} {
		degrees := fmt.Sprintf("%.7f", float64(v)/pingline.E7)
		texts = append(texts, degrees[:len(degrees)-1], fmt.Sprint(v), string(binary.LittleEndian.AppendUint32(nil, uint32(v))), string(binary.BigEndian.AppendUint32(nil, uint32(v))))
	}
	return texts
}

// A rider goes home and leaves again. No byte of a position at home, nor of the rider's
// name, is in a file of the data directory, in InfluxDB, in an answer or in the log; of the
// way there it is.
func TestNothingTrueIsKept(t *testing.T) {
	for _, tt := range []struct {
		version int
		pings   string
	}{{1, "drop"}, {2, "centre"}} {
		t.Run(fmt.Sprintf("%s, InfluxDB %d", tt.pings, tt.version), func(t *testing.T) {
			said := new(processLog)
			path, names := pseudonymKey(t)
			r := startRig(t, tt.version, func(c *node.Config) {
				c.Privacy = privacy.DoorSettings{Zones: []string{"48.2,16.4,400"}, Pings: tt.pings, Events: []string{"sos"}, Keys: path}
				c.Bound.MaxError, c.Bound.AccuracyCap = 0, 0
				c.Logger = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			const rider = "ana-of-the-true-name"
			now := time.Now().UnixMilli()
			var out, in []pingline.Ping
			for i := range 40 {
				p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: now - 60_000 + int64(i)*1000}}
				lat, lon := 48.1912347+float64(i)*1.37e-5, 16.4112391+float64(i)*1.13e-5
				if i >= 10 && i < 30 {
					lat, lon = 48.2012347+float64(i)*1.37e-5, 16.4012391+float64(i)*1.13e-5
				}
				if err := p.SetPosition(lat, lon); err != nil {
					t.Fatal(err)
				}
				p.SetOptional(pingline.HasSpeed, 7.625)
				if i == 20 {
					p.Event = "shift_end" // is not sos
				}
				if i >= 10 && i < 30 {
					in = append(in, p)
				} else {
					out = append(out, p)
				}
			}
			body := func(list []pingline.Ping) (text string) {
				for i := range list {
					p := &list[i]
					text += fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%.7f,"lon":%.7f,"speed":7.625,"event":%q}`+"\n", p.Rider, p.At, p.Lat(), p.Lon(), p.Event)
				}
				return text
			}
			for _, list := range [][]pingline.Ping{out[:10], in, out[10:]} {
				resp, err := http.Post(r.node.URL()+"/v1/pings", "application/x-ndjson", strings.NewReader(body(list)+`{"rider_id":"`+rider+`"}`))
				if err != nil {
					t.Fatal(err)
				}
				answer, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || strings.Contains(string(answer), rider) {
					t.Fatalf("%s %s", resp.Status, answer)
				}
			}
			r.written()
			const box = "16,48,17,49"
			var seen strings.Builder
			for _, at := range []string{
				"/v1/riders/" + rider, "/v1/riders/" + rider + "/track?limit=1000", "/v1/riders/" + names.Of(rider) + "/track?limit=1000", "/v1/riders?bbox=" + box,
				"/v1/riders?bbox=" + box + fmt.Sprintf("&at=%d", now-31_000), "/v1/cells?res=8&bbox=" + box, "/v1/partitions", "/v1/status", "/readyz",
			} {
				text := r.get(r.node.URL() + at)
				if !strings.HasPrefix(text, "200") && at != "/readyz" {
					t.Errorf("%s: %s", at, text)
				}
				seen.WriteString(strings.ReplaceAll(text, `"rider_id":"`+rider+`"`, "")) // names the id asked for
			}
			seen.WriteString(r.firstEvent(box))
			seen.WriteString(r.get(r.opsURL() + "/metrics"))
			for _, bucket := range buckets {
				seen.WriteString(r.answers(bucket))
			}
			r.stop()
			seen.WriteString(said.String())

			if !strings.Contains(said.String(), "pings were refused") {
				t.Error("the log tells of no refusal: it would show little")
			}
			found := func(text string) bool {
				return strings.Contains(seen.String(), text) || len(filesWith(t, r.cfg.DataDir, text)) > 0
			}
			for i := range in {
				for _, text := range placesOf(&in[i]) {
					if found(text) {
						t.Errorf("of ping %d within the zone %q is there: %v", i, text, filesWith(t, r.cfg.DataDir, text))
					}
				}
			}
			if found(rider) {
				t.Errorf("the name is there: %v", filesWith(t, r.cfg.DataDir, rider))
			}
			// A look that finds nothing anywhere would find nothing wrong.
			place := placesOf(&out[5])
			if !strings.Contains(seen.String(), place[0]) || len(filesWith(t, r.cfg.DataDir, place[2])) == 0 || !strings.Contains(seen.String(), names.Of(rider)) || len(filesWith(t, r.cfg.DataDir, names.Of(rider))) == 0 {
				t.Error("what may be there is not found either")
			}
			if centre := strings.Contains(seen.String(), `"lat":48.2,"lon":16.4,"accuracy":400`); centre != (tt.pings == "centre") {
				t.Errorf("the centre is there: %v", centre)
			}
		})
	}
}

// exportOf returns the pings of an export by the name that each is stored by.
func (r *rig) exportOf(rider string) map[string]int {
	r.t.Helper()
	out, _, err := run(r.t, &ExportCmd{ID: ID{rider}, Format: "ndjson", Server: r.opsURL(), StoreFlags: r.storeFlags()})
	if err != nil {
		r.t.Fatal(err)
	}
	by := map[string]int{}
	for line := range strings.Lines(out) {
		var e exported
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		by[e.Rider]++
	}
	return by
}

// A rider's rights reach what is stored by the pseudonym, and what was stored by the name
// before there were pseudonyms: both are exported, and of both nothing is left.
func TestRightsByPseudonyms(t *testing.T) {
	const rider, other = "ana-of-the-true-name", "bo-of-the-others"
	path, names := pseudonymKey(t)
	r := startRig(t, 1, quick)
	letters(t, r, rider)
	r.post(ride(rider, 100)...)
	r.written()
	r.stop()
	r.cfg.Privacy.Keys = path
	r.start()
	r.post(append(ride(rider, 100), ride(other, 100)...)...)
	r.written()
	by := r.exportOf(rider)
	if len(by) != 2 || by[rider] < 10 || by[names.Of(rider)] < 10 {
		t.Errorf("exported by name: %v", by)
	}
	if by := r.exportOf(names.Of(rider)); len(by) != 1 || by[names.Of(rider)] < 10 {
		t.Errorf("exported by pseudonym: %v", by)
	}
	out, said, err := run(t, &DeleteCmd{ID: ID{rider}, Server: r.opsURL(), Wait: patience})
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	var reports []rights.Removal
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var m rights.Removal
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, m)
	}
	if len(reports) != 2 || reports[0].Also != reports[1].ID || reports[1].DeadLetters != 1 || reports[0].Step != rights.Finished || reports[1].Step != rights.Finished {
		t.Errorf("%s", out)
	}
	r.gone(rider, names.Of(other))
	r.gone(names.Of(rider), names.Of(other))
}

// A request that was left while no server ran reaches the pseudonym, too.
func TestPseudonymRemovedAtTheNextStart(t *testing.T) {
	const rider, other = "ana-of-the-true-name", "bo-of-the-others"
	path, names := pseudonymKey(t)
	r := startRig(t, 1, func(c *node.Config) {
		quick(c)
		c.Privacy.Keys = path
	})
	r.post(append(ride(rider, 100), ride(other, 100)...)...)
	r.written()
	r.stop()
	out, _, err := run(t, &DeleteCmd{ID: ID{rider}, Server: "http://x", DataDir: r.cfg.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Fields(out)[1]
	r.start()
	cmd := &DeleteCmd{Server: r.opsURL()}
	for range 2 {
		var m rights.Removal
		r.until("the end of the removal", func() (done bool) {
			m, err = cmd.removal(t.Context(), http.MethodGet, []string{"v1", "removals", id}, http.StatusOK)
			return err == nil && m.Step == rights.Finished
		})
		if id = m.Also; id == "" {
			break
		}
	}
	r.gone(rider, names.Of(other))
	r.gone(names.Of(rider), names.Of(other))
}
