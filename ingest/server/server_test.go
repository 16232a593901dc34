package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/phone/native"
	"pingline/queue"
)

// testServer runs a server with a real writer and log until the test ends.
func testServer(t testing.TB, cfg Config, before ...func(*Server)) (s *Server, url string) {
	t.Helper()
	if cfg.Writer == nil {
		cfg.Writer, _ = testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	}
	if cfg.Protocols == nil {
		cfg.Protocols = []phone.Protocol{native.Protocol}
	}
	cfg.Listen, cfg.Cells = "127.0.0.1:0", testCells
	if *overTLS && cfg.TLS == nil {
		cfg.TLS = tlsOfAll(t)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		f(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server failed: %v", err)
		}
	})
	if s.cfg.TLS != nil {
		return s, "https://" + s.Addr().String()
	}
	return s, "http://" + s.Addr().String()
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(t testing.TB, method, url string, body []byte, headers ...string) answer {
	t.Helper()
	return sendBy(t, http.DefaultClient, method, url, body, headers...)
}

func sendBy(t testing.TB, by *http.Client, method, url string, body []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := by.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// onePing is a ping of rider n seconds ago.
func onePing(rider string, ago int) string {
	return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":41.1,"lon":-8.6}`, rider, time.Now().Add(-time.Duration(ago)*time.Second).UnixMilli())
}

func TestFormsAndEncodings(t *testing.T) {
	_, url := testServer(t, Config{})
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]func(a, b string) string{
		"object": func(a, _ string) string { return a },
		"array":  func(a, b string) string { return "[" + a + "," + b + "]" },
		"pings":  func(a, b string) string { return `{"pings":[` + a + "," + b + "]}" },
		"ndjson": func(a, b string) string { return a + "\n" + b },
	}
	encodings := map[string]func(string) []byte{
		"":         func(s string) []byte { return []byte(s) },
		"identity": func(s string) []byte { return []byte(s) },
		"gzip":     func(s string) []byte { return gzipped(t, []byte(s)) },
		"zstd":     func(s string) []byte { return enc.EncodeAll([]byte(s), nil) },
	}
	for form, body := range forms {
		for encoding, encode := range encodings {
			t.Run(form+" "+encoding, func(t *testing.T) {
				rider := "r-" + form + encoding
				var headers []string
				if encoding != "" {
					headers = []string{"Content-Encoding", encoding}
				}
				a := send(t, "POST", url+"/v1/pings?verdicts=1", encode(body(onePing(rider, 9), onePing(rider, 5))), headers...)
				want := `"verdicts":["accepted","held"]`
				if form == "object" {
					want = `"verdicts":["accepted"]`
				}
				if a.status != 200 || !strings.Contains(a.body, want) {
					t.Errorf("%d %s, want 200 with %s", a.status, a.body, want)
				}
			})
		}
	}
}

func TestAnswerOfAMixedRequest(t *testing.T) {
	_, url := testServer(t, Config{})
	first := onePing("r-1", 9)
	body := "[" + first + "," + `{"rider_id":"r-1","ts":1,"lat":1,"lon":2}` + "," + first + "," + onePing("r 1 ", 3) + "]"
	a := send(t, "POST", url+"/v1/pings?verdicts=1", []byte(body))
	want := `{"accepted":1,"held":0,"redundant":0,"duplicate":1,"shed":0,"rejected":2,"max_error":10,"accuracy_cap":50,` +
		`"verdicts":["accepted","rejected","duplicate","rejected"],"errors":[` +
		`{"index":1,"field":"ts","error":"more than 30 d behind"},` +
		`{"index":3,"field":"rider_id","error":"white space at an end"}]}`
	if a.status != 200 || a.body != want {
		t.Errorf("answer %d\n%s\nwant 200\n%s", a.status, a.body, want)
	}
}

func TestNothingToDo(t *testing.T) {
	_, url := testServer(t, Config{})
	want := `{"accepted":0,"held":0,"redundant":0,"duplicate":0,"shed":0,"rejected":0,"max_error":10,"accuracy_cap":50,"errors":[]}`
	for _, body := range []string{"", " \n", "[]", `{"pings":[]}`} {
		if a := send(t, "POST", url+"/v1/pings", []byte(body)); a.status != 200 || a.body != want {
			t.Errorf("body %q: %d %s, want 200 %s", body, a.status, a.body, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	_, url := testServer(t, Config{MaxBody: 1 << 16, MaxInflated: 1 << 17, Limits: phone.Limits{MaxPings: 100}})
	many := "[" + strings.Repeat(`{"rider_id":"r"},`, 100) + `{"rider_id":"r"}]`
	for _, tt := range []struct {
		name, method, path string
		body               []byte
		headers            []string
		status             int
		want               string // in the error
	}{
		{"too large as sent", "POST", "/v1/pings", make([]byte, 1<<16+1), nil, 413, "65536 bytes"},
		{"too large inflated", "POST", "/v1/pings", gzipped(t, bytes.Repeat([]byte(" "), 1<<17+1)), []string{"Content-Encoding", "gzip"}, 413, "131072"},
		{"too many pings", "POST", "/v1/pings", []byte(many), nil, 413, "100"},
		{"unknown encoding", "POST", "/v1/pings", []byte("[]"), []string{"Content-Encoding", "br"}, 415, "br"},
		{"stacked encodings", "POST", "/v1/pings", gzipped(t, gzipped(t, []byte("[]"))), []string{"Content-Encoding", "gzip, gzip"}, 415, "gzip, gzip"},
		{"not gzip", "POST", "/v1/pings", []byte("[]"), []string{"Content-Encoding", "gzip"}, 400, "gzip"},
		{"not JSON", "POST", "/v1/pings", []byte("hello"), nil, 400, "hello"},
		{"all rejected", "POST", "/v1/pings", []byte(`[{"rider_id":"r"}]`), nil, 400, "every ping was rejected"},
		{"wrong method", "GET", "/v1/pings", nil, nil, 405, "GET is not for /v1/pings: use POST"},
		{"no such route", "GET", "/v2/pings", nil, nil, 404, "there is no /v2/pings; GET / lists"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := send(t, tt.method, url+tt.path, tt.body, tt.headers...)
			var said struct{ Error string }
			if err := json.Unmarshal([]byte(a.body), &said); err != nil {
				t.Fatalf("%d with a body that is no JSON: %s", a.status, a.body)
			}
			if a.status != tt.status || !strings.Contains(said.Error, tt.want) && tt.name != "not JSON" || said.Error == "" {
				t.Errorf("%d %q, want %d with %q", a.status, said.Error, tt.status, tt.want)
			}
		})
	}
}

func TestTooMuchInProgress(t *testing.T) {
	s, url := testServer(t, Config{MaxInProgress: 1 << 20})
	use(s.budget, 1<<20) // as many bytes are in work
	a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1)))
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 503 || err != nil || wait < 1 {
		t.Errorf("%d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	use(s.budget, -1<<20)
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1))); a.status != 200 {
		t.Errorf("after the work was done: %d %s", a.status, a.body)
	}
	if n := s.budget.Used(); n != 0 {
		t.Errorf("%d bytes are in work when none are", n)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	_, url := testServer(t, Config{Notes: func() []string { return []string{"all is well"} }})
	if a := send(t, "GET", url+"/healthz", nil); a.status != 200 {
		t.Errorf("healthz: %d", a.status)
	}
	a := send(t, "GET", url+"/readyz", nil)
	var said struct {
		Ready *bool
		Level *int
		Notes []string
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		t.Fatal(err)
	}
	if a.status != 200 || said.Ready == nil || !*said.Ready || said.Level == nil || *said.Level != 0 || len(said.Notes) != 1 {
		t.Errorf("readyz: %d %s", a.status, a.body)
	}
}

// Requests of every shape at once get the answers they would get alone.
func TestConcurrentHTTP(t *testing.T) {
	s, url := testServer(t, Config{})
	var wg sync.WaitGroup
	const clients, requests = 8, 30
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for r := range requests {
				rider := fmt.Sprintf("r-%d-%d", c, r)
				body := []byte("[" + onePing(rider, 9) + "," + onePing(rider, 5) + `,{"rider_id":7}]`)
				var headers []string
				if r%2 == 1 {
					body, headers = gzipped(t, body), []string{"Content-Encoding", "gzip"}
				}
				a := send(t, "POST", url+"/v1/pings?verdicts=1", body, headers...)
				if a.status != 200 || !strings.Contains(a.body, `"verdicts":["accepted","held","rejected"]`) {
					t.Errorf("client %d, request %d: %d %s", c, r, a.status, a.body)
				}
			}
		}()
	}
	wg.Wait()
	st := s.Stats()
	if st.Received != clients*requests*3 || st.Rejected != clients*requests || st.Reasons["rider_id"] != clients*requests {
		t.Errorf("counts %+v", st)
	}
}

// A listener that dies must not look like a clean stop.
func TestDeadListener(t *testing.T) {
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{})})
	s, err := New(Config{Listen: "127.0.0.1:0", Writer: w, Cells: testCells})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	for {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err == nil {
			_ = conn.Close()
			break
		}
	}
	if err := s.ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("Run returned nil though its listener died")
	}
}
