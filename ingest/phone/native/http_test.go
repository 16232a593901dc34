package native

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server"
	"pingline/partition"
	"pingline/queue"
)

// serve runs a server that speaks the protocol, with a real writer and log, until
// the test ends.
func serve(t *testing.T) (url string) {
	t.Helper()
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w, err := ingest.OpenWriter(t.Context(), ingest.WriterConfig{Log: log, Filter: dedupe.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	cells, err := partition.NewCells(5)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Listen: "127.0.0.1:0", Writer: w, Cells: cells, Protocols: []phone.Protocol{Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	run := func(part func(context.Context) error) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- part(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stopWriter, stopServer := run(w.Run), run(s.Run)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stopServer()
		stopWriter()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

// Every malformed body gets its status and its message over HTTP, too.
func TestMalformedOverHTTP(t *testing.T) {
	url := serve(t)
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := http.Post(url+"/v1/pings", "", strings.NewReader(at(tt.body, time.Now())))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			var said struct {
				Error  string
				Errors []phone.Rejection
			}
			if err := json.Unmarshal(body, &said); err != nil {
				t.Fatalf("%d with a body that is no JSON: %s", resp.StatusCode, body)
			}
			if resp.StatusCode != tt.wantStatus {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, tt.wantStatus)
			}
			if tt.wantIndex < 0 {
				if said.Error != tt.wantError {
					t.Errorf("error %q, want %q", said.Error, tt.wantError)
				}
				return
			}
			if len(said.Errors) == 0 {
				t.Fatalf("no error in %s, want %q", body, tt.wantError)
			}
			first := said.Errors[0]
			got := textOf(first)
			if first.Index != tt.wantIndex || got != tt.wantError {
				t.Errorf("first error %d %q, want %d %q", first.Index, got, tt.wantIndex, tt.wantError)
			}
		})
	}
}
