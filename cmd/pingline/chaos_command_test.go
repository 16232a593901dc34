package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"pingline/internal/influxd"
	failures "pingline/sim/chaos"
	"pingline/sink/influx"
)

// chaosRun is what a test reads of pingline chaos --json.
type chaosRun struct {
	Faults []struct {
		Fault, Skipped string
		Lasted         float64 `json:"lasted_s"`
		Refused        uint64
		Unanswered     uint64
		P99            float64  `json:"p99_ms"`
		Recovered      *float64 `json:"recovered_s"`
	}
	Load struct {
		simRun
		Interrupted bool
	}
	Audit struct {
		Checked, Stored, Lost, Wrong, Foreign uint64

		OutOfBound uint64 `json:"out_of_bound"`
	}
	Violations []string
	Verdict    string
}

// units are an ingester and an InfluxDB that a systemctl of our own kills, freezes and
// starts, as the documented hook asks it to.
type units struct {
	t                    *testing.T
	dir, url, influx     string
	hook                 string
	data                 string // of the ingester
	proxied              string // address at which the ingester reaches InfluxDB
	toxics               string // URL of the proxy there, if there is one
	pingline, influxAddr string
}

// newUnits starts an ingester and an InfluxDB. Small says that the disk of the log is a
// small one of its own, and that a toxiproxy stands before InfluxDB.
func newUnits(t *testing.T, small bool) *units {
	t.Helper()
	binary, err := influxd.Find()
	if errors.Is(err, influxd.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	u := &units{t: t, dir: t.TempDir(), pingline: freePort(t), influxAddr: freePort(t)}
	u.url, u.influx, u.hook = "http://"+u.pingline, "http://"+u.influxAddr, filepath.Join(u.dir, "hook.sh")
	blocks := codeOf(t, "load-testing.md", "Chaos", "sh")
	if len(blocks) != 1 {
		t.Fatalf("docs/load-testing.md has %d scripts under Chaos", len(blocks))
	}
	// The hook never fills the disk that the test itself is on.
	disk, hook := filepath.Join(u.dir, "nowhere"), blocks[0]
	u.data, u.proxied = filepath.Join(u.dir, "data"), u.influxAddr
	if small {
		disk, hook = u.mount(), u.addCut(hook)
		u.data = filepath.Join(disk, "data")
	}
	u.write("hook.sh", strings.ReplaceAll(hook, "/var/lib/pingline", disk))
	u.write("influxdb", fmt.Sprintf(`#!/bin/sh
exec env INFLUXDB_REPORTING_DISABLED=true INFLUXDB_BIND_ADDRESS=127.0.0.1:0 INFLUXDB_HTTP_BIND_ADDRESS=%s INFLUXDB_HTTP_LOG_ENABLED=false \
	INFLUXDB_MONITOR_STORE_ENABLED=false INFLUXDB_META_DIR=db/meta INFLUXDB_DATA_DIR=db/data INFLUXDB_DATA_WAL_DIR=db/wal %q run -config /dev/null
`, u.influxAddr, binary))
	u.write("pingline", fmt.Sprintf(`#!/bin/sh
exec env %s=1 %q serve --listen=%s --ops-listen= --data-dir=%q --influx-host=http://%s --idle-flush=1s
`, asProgram, os.Args[0], u.pingline, u.data, u.proxied))
	u.write("systemctl", fmt.Sprintf(`#!/bin/sh
set -e
cd %q
case $1 in
kill) kill -s "${2#--signal=}" "$(cat "$3.pid")" && echo "$2 $3" >>calls ;;
start) ./"$2" >>"$2.log" 2>&1 & echo $! >"$2.pid" && echo "$1 $2" >>calls ;;
esac
`, u.dir))
	t.Cleanup(func() {
		for _, unit := range []string{"pingline", "influxdb"} {
			_ = u.systemctl("kill", "--signal=KILL", unit)
			if text, err := os.ReadFile(filepath.Join(u.dir, unit+".log")); err == nil && t.Failed() {
				t.Logf("%s said:\n%s", unit, text[max(0, len(text)-5000):])
			}
		}
	})
	u.start("influxdb", u.influx+"/ping")
	db, err := influx.New(influx.Config{URL: u.influx, Bucket: "pingline"})
	if err == nil {
		err = db.CreateDatabase(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	u.start("pingline", u.url+"/readyz")
	if err := os.Remove(filepath.Join(u.dir, "calls")); err != nil {
		t.Fatal(err)
	}
	return u
}

// mount returns the folder of a small disk.
func (u *units) mount() string {
	u.t.Helper()
	disk := filepath.Join(u.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		u.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk).CombinedOutput(); err != nil {
		u.t.Skipf("needs to mount a small tmpfs: %v: %s", err, out)
	}
	u.t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	return disk
}

// addCut starts a toxiproxy before InfluxDB and returns a hook that cuts there, as
// documented.
func (u *units) addCut(hook string) string {
	u.t.Helper()
	blocks := codeOf(u.t, "load-testing.md", "Cutting the network", "sh")
	if len(blocks) != 1 {
		u.t.Fatalf("docs/load-testing.md has %d scripts under Cutting the network", len(blocks))
	}
	u.proxied = freePort(u.t)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	if err := server.Collection.Add(toxiproxy.NewProxy(server, "influxdb", u.proxied, u.influxAddr), true); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = server.Collection.Clear() })
	api := freePort(u.t)
	host, port, err := net.SplitHostPort(api)
	if err != nil {
		u.t.Fatal(err)
	}
	go server.Listen(host, port) // ends with the tests
	u.toxics = "http://" + api + "/proxies/influxdb"
	eventually(u.t, "toxiproxy answers", func() bool {
		resp, err := http.Get(u.toxics)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	return strings.Replace(hook, "*) exit", strings.ReplaceAll(blocks[0], "127.0.0.1:8474", api)+"*) exit", 1)
}

// connected reports whether the ingester reaches InfluxDB. It does not ask toxiproxy, which reads
// and changes a proxy at once.
func (u *units) connected() bool {
	conn, err := net.Dial("tcp", u.proxied)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (u *units) write(name, text string) {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o700); err != nil {
		u.t.Fatal(err)
	}
}

func (u *units) systemctl(args ...string) error {
	return exec.Command(filepath.Join(u.dir, "systemctl"), args...).Run()
}

// start starts a unit and waits until url is answered.
func (u *units) start(unit, url string) {
	u.t.Helper()
	if err := u.systemctl("start", unit); err != nil {
		u.t.Fatal(err)
	}
	eventually(u.t, unit+" answers", func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode < 300
	})
}

// calls returns what the hook had done, and forgets it.
func (u *units) calls() []string {
	path := filepath.Join(u.dir, "calls")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		u.t.Error(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// chaos returns a command that has our systemctl before all others.
func (u *units) chaos(args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	cmd = pinglineCommand(append([]string{
		"chaos", "--target=" + u.url, "--influx-host=" + u.influx, "--hook=" + u.hook, "--rate=400", "--riders=400", "--interval=1s", "--batch=10",
		"--connections=8", "--settle=5m",
	}, args...)...)
	cmd.Env = append(cmd.Env, "PATH="+u.dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}

func (u *units) result(err error, out, errs *bytes.Buffer) (r chaosRun) {
	u.t.Helper()
	u.t.Logf("chaos: %s%s", out, errs)
	if err != nil {
		u.t.Fatal(err)
	}
	dec := json.NewDecoder(out)
	if err := dec.Decode(&r); err != nil || dec.More() {
		u.t.Fatalf("not one object: %v", err)
	}
	a := r.Audit
	if a.Checked == 0 || a.Stored == 0 || a.Lost+a.Wrong+a.Foreign+a.OutOfBound > 0 || len(r.Violations) > 0 || r.Load.Answered != r.Load.Sent {
		u.t.Errorf("%+v", r)
	}
	return r
}

// unitCalls are what the documented hook does of each failure that can be had here.
var unitCalls = map[failures.Failure][]string{
	failures.Kill:        {"--signal=KILL pingline", "start pingline"},
	failures.Freeze:      {"--signal=STOP pingline", "--signal=CONT pingline"},
	failures.KillStore:   {"--signal=KILL influxdb", "start influxdb"},
	failures.FreezeStore: {"--signal=STOP influxdb", "--signal=CONT influxdb"},
}

// The documented hook kills and freezes a real ingester and a real InfluxDB while a load
// runs, in the order of the schedule, and what was answered is stored. Then Ctrl-C in
// the middle of a failure ends it, and what there is is audited.
func TestChaosCommand(t *testing.T) {
	t.Parallel() // it mostly waits
	u := newUnits(t, false)
	page := filepath.Join(u.dir, "chaos.html")
	cmd, out, errs := u.chaos("--for=12s", "--json", "--html="+page)
	r := u.result(cmd.Run(), out, errs)
	var want []string
	done, recovered := 0, 0
	for i, s := range failures.Schedule(1, 12*time.Second, nil) {
		if i == len(r.Faults) || r.Faults[i].Fault != s.Fault.String() {
			t.Fatalf("failure %d is not %v: %+v", i, s.Fault, r.Faults)
		}
		f := r.Faults[i]
		calls, here := unitCalls[s.Fault]
		switch {
		case f.Skipped == failures.NoTime: // the machine is busy
		case here != (f.Skipped == "") || here && f.Lasted <= 0 || s.Fault == failures.Kill && f.Unanswered == 0:
			t.Errorf("%+v", f)
		case here:
			want, done = append(want, calls...), done+1
		}
		if f.Recovered != nil {
			recovered++
		}
	}
	if got := u.calls(); !slices.Equal(got, want) || done < 3 || recovered == 0 {
		t.Errorf("the hook was called for %q, want %q; %d recoveries of %d were seen", got, want, recovered, done)
	}
	html, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(html, []byte("the store is killed for ")) || !bytes.Contains(html, []byte("fill was skipped: ")) {
		t.Errorf("a page of %d bytes without its notes: %v", len(html), err)
	}

	cmd, out, errs = u.chaos("--for=8s", "--faults-of=freeze", "--json")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ingester is frozen", func() bool {
		_, err := os.Stat(filepath.Join(u.dir, "calls"))
		return err == nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	r = u.result(cmd.Wait(), out, errs)
	if got := u.calls(); !slices.Equal(got, unitCalls[failures.Freeze]) || !r.Load.Interrupted || len(r.Faults) != 1 {
		t.Errorf("the hook was called for %q; %+v", got, r)
	}
}

// The disk of the log fills and the network to InfluxDB is cut, for real and by the
// documented hook, and what was answered is stored.
func TestChaosFillsAndCuts(t *testing.T) {
	long(t)
	t.Parallel() // it mostly waits
	u := newUnits(t, true)
	cmd, out, errs := u.chaos("--for=16s", "--faults-of=fill,cut", "--json")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the network is cut", func() bool { return !u.connected() })
	r := u.result(cmd.Wait(), out, errs)
	done := make(map[string]bool)
	for _, f := range r.Faults {
		done[f.Fault] = done[f.Fault] || f.Skipped == ""
		switch {
		case f.Skipped == failures.NoTime: // the machine is busy
		case f.Skipped != "" || f.Lasted <= 0:
			t.Errorf("%+v", f)
		case f.Fault == "fill" && f.Refused == 0:
			t.Errorf("nothing was refused on a full disk: %+v", f)
		}
	}
	if !done["fill"] || !done["cut"] {
		t.Errorf("brought about were %v", done)
	}
	if !u.connected() {
		t.Error("the network is still cut")
	}
}
