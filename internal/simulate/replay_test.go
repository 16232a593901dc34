package simulate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ride writes a track of so many pings, one a second, and a line that is no ping.
func ride(t *testing.T, pings int) string {
	t.Helper()
	text := "oops\n"
	for i := range pings {
		text += fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":%.5f,"lon":-8.6}`+"\n", 1_760_000_000_000+i*1000, 41+float64(i)*1e-4)
	}
	path := filepath.Join(t.TempDir(), "ride.ndjson")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplaySendsEachPingOfEachClone(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "a.html")
	out, err := run(t.Context(), "replay", ride(t, 101), "--target", server(t, nil), "--speed=50x", "--clones=20", "--jitter", "--json", "--html", page)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Sent, Answered, Accepted, Riders uint64 }
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Sent != 2020 || got.Answered != 2020 || got.Riders != 20 {
		t.Errorf("printed %s: %v", out, err)
	}
	text, err := os.ReadFile(page)
	for _, want := range []string{"Replay of 1 tracks by 20 phones", "--speed=50x --clones=20 --jitter"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("a page of %d bytes without %q: %v", len(text), want, err)
		}
	}
}

// A slow network shows in the latency, and loses nothing.
func TestNetworkOnTheWay(t *testing.T) {
	t.Parallel()
	out, err := run(t.Context(), "run", "--target", server(t, nil), "--for=2s", "--rate=100", "--batch=10", "--connections=4", "--network=latency=60ms,loss=0.001,bandwidth=1MB/s", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Sent, Answered uint64
		P50            float64 `json:"p50_ms"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Sent != 200 || got.Answered != 200 || got.P50 < 60 {
		t.Errorf("printed %s: %v", out, err)
	}
}

func TestReplayRefuses(t *testing.T) {
	good := ride(t, 1)
	url := server(t, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusTeapot); return true })
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{}, "expected \"<file> ...\""},
		{[]string{good, "--speed=0"}, `--speed: "0" is not a speed in [0.01x, 10000x], such as 10x`},
		{[]string{good, "--speed=-1x"}, `--speed: "-1x" is not a speed`},
		{[]string{good, "--speed=NaNx"}, `--speed: "NaNx" is not a speed`},
		{[]string{good, "--speed=1e9"}, `--speed: "1e9" is not a speed`},
		{[]string{good, "--speed=10s"}, `--speed: "10s" is not a speed`},
		{[]string{good, "--clones=0"}, "--clones: 0 is not in [1, 10000000]"},
		{[]string{good, "--clones=100000000"}, "--clones: 100000000 is not in"},
		{[]string{good, "--network=latency=80"}, `--network: latency "80" is not in [0ms, 1m], in whole ms, such as 80ms`},
		{[]string{good, "--network=jam"}, `--network: "jam" is not KEY=VALUE`},
		{[]string{good, "--batch=0"}, `--batch: "0" is neither`},
		{[]string{"/nowhere.gpx"}, "/nowhere.gpx: no such file"},
		{[]string{os.DevNull}, "no ping in"},
	} {
		args := append([]string{"replay", "--target", url}, tt.args...)
		if _, err := run(t.Context(), args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}
