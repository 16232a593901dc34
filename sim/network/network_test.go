package network

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	for text, want := range map[string]Config{
		"latency=80ms,jitter=40ms,loss=0.01,bandwidth=1MB/s": {Latency: 80 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.01, Bandwidth: 1e6},
		"bandwidth=64KiB/s":      {Bandwidth: 65536},
		" loss = 0 , latency=0s": {},
		"latency=1m":             {Latency: time.Minute},
	} {
		var s Config
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if !s.Set() || s.String() != text {
			t.Errorf("%s is %q", text, s.String())
		}
		if s.text = ""; s != want {
			t.Errorf("%s is %+v, want %+v", text, s, want)
		}
	}
	if new(Config).Set() {
		t.Error("a spec that was not given is set")
	}
}

func TestConfigRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                           `"" is not KEY=VALUE`,
		"latency":                    `"latency" is not KEY=VALUE`,
		"latency=80":                 `latency "80" is not in [0ms, 1m]`,
		"latency=-1ms":               `latency "-1ms" is not in`,
		"latency=61s":                `latency "61s" is not in`,
		"latency=1500us":             `latency "1500us" is not in [0ms, 1m], in whole ms`,
		"latency=1ms,latency=2ms":    "latency is there twice",
		"jitter=40ms":                "jitter 40ms is more than the latency, 0s",
		"loss=2":                     `loss "2" is not a share in [0, 0.5]`,
		"loss=1%":                    `loss "1%" is not a share`,
		"loss=NaN":                   `loss "NaN" is not a share`,
		"bandwidth=0":                `bandwidth "0" is not in [1KB/s, 10GB/s], such as 1MB/s`,
		"bandwidth=1MB":              `bandwidth "1MB" is not in`,
		"bandwidth=10B/s":            `bandwidth "10B/s" is not in`,
		"bandwidth=1TB/s":            `bandwidth "1TB/s" is not in`,
		"latency=1ms,duplicates=0.1": `"duplicates" is none of latency, jitter, loss, bandwidth`,
	} {
		var s Config
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// through sends a body to a server that sends it back, and returns how long that took.
func through(t *testing.T, text string, s *httptest.Server, body []byte, requests int) time.Duration {
	t.Helper()
	var spec Config
	if err := spec.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	n, err := Open(spec, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	transport := n.Transport(1, nil).(*http.Transport)
	if s.TLS != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}
	}
	client := http.Client{Transport: transport}
	began := time.Now()
	for range requests {
		resp, err := client.Post(s.URL, "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes came back of %d: %v", len(got), len(body), err)
		}
	}
	return time.Since(began)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, _ = w.Write(body)
	}
}

// The network takes its time and changes nothing, with TLS or without.
func TestNetworkIsSlow(t *testing.T) {
	t.Parallel()
	plain, secure := httptest.NewServer(http.HandlerFunc(echo)), httptest.NewTLSServer(http.HandlerFunc(echo))
	defer plain.Close()
	defer secure.Close()
	for _, tt := range []struct {
		spec     string
		bytes    int
		requests int
		least    time.Duration
	}{
		{"latency=101ms", 10, 3, 303 * time.Millisecond},
		{"latency=100ms,jitter=50ms", 10, 5, 250 * time.Millisecond},
		{"bandwidth=100KB/s", 30_000, 1, 500 * time.Millisecond},
		{"loss=0.3", 10, 20, 200 * time.Millisecond}, // one time in a million none of 40 packets is lost
	} {
		for _, s := range []*httptest.Server{plain, secure} {
			if s == secure && tt.requests > 10 {
				continue // it takes seconds
			}
			if took := through(t, tt.spec, s, bytes.Repeat([]byte("x"), tt.bytes), tt.requests); took < tt.least {
				t.Errorf("%s to %s: %d requests took %v, less than %v", tt.spec, s.URL, tt.requests, took, tt.least)
			}
		}
	}
}

// Of packets that are lost at a rate, so many are late, each by what TCP waits.
func TestLostPacketsAreSentAgain(t *testing.T) {
	draws := []float64{0.9, 0.05, 0.9, 0.05, 0.05, 0.9, 0.9}
	draw := func() float64 { d := draws[0]; draws = draws[1:]; return d }
	l := lossToxic{Loss: 0.1}
	if got := l.wait(4*packet, draw); got != 600*time.Millisecond || len(draws) != 0 {
		t.Errorf("four packets, one lost once and one twice, wait %v; %d draws left", got, len(draws))
	}
	if got := (&lossToxic{Loss: 0.1}).wait(packet, func() float64 { return 0 }); got != mostWait {
		t.Errorf("a packet that is always lost waits %v", got)
	}
	if got := l.wait(0, func() float64 { return 0 }); got != 0 {
		t.Errorf("nothing waits %v", got)
	}
}

func TestNetworkToNowhere(t *testing.T) {
	n, err := Open(Config{}, "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	client := http.Client{Transport: n.Transport(1, nil)}
	if resp, err := client.Get("http://127.0.0.1:1"); err == nil {
		_ = resp.Body.Close()
		t.Error("there is an answer from nowhere")
	}
	for target, want := range map[string]string{"http://h": "h:80", "https://h": "h:443", "https://[::1]:9/x": "[::1]:9"} {
		if got, err := addressOf(target); got != want || err != nil {
			t.Errorf("%s is at %s, %v; want %s", target, got, err, want)
		}
	}
}
