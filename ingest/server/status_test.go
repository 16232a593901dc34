package server

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/query"
	"pingline/query/status"
	"pingline/queue"
)

// sampledStatus returns the status of a node that has run for a while, with numbers that are
// known and numbers that are not.
func sampledStatus(t *testing.T) func() ([]byte, error) {
	t.Helper()
	var s *status.Sampler
	synctest.Test(t, func(t *testing.T) {
		fresh := math.NaN()
		s = status.New(status.Config{
			State: func() status.State {
				return status.State{Received: uint64(time.Now().Unix()), Riders: 7, Breakers: []status.ShardBreaker{{Shard: "a", State: status.Closed}}}
			},
			Freshness: func() (float64, float64) { return fresh, fresh },
			Version:   "v1",
		})
		ctx, stop := context.WithTimeout(t.Context(), 3*status.Step+time.Second)
		defer stop()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		if _, err := s.JSON(); err != nil {
			t.Error(err)
		}
	})
	return s.JSON
}

// GET /v1/status is answered at every level, while all places of reads are taken, and
// whoever asks takes none. Only who asks too often is refused.
func TestStatusInOverload(t *testing.T) {
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: ingest.NewOverload(ingest.OverloadConfig{})})
	s, url := testServer(t, Config{Writer: w, ReadRate: 2, Reader: query.Sources{Status: sampledStatus(t)}})
	s.over.Force(pingline.MaxLevel, true, "a test")
	use(s.reads.Slots, s.reads.Slots.Most())
	use(s.reads.Bytes, s.reads.Bytes.Most())
	slots, bytes := s.reads.Slots.Used(), s.reads.Bytes.Used()
	began := time.Now()
	for range 20 {
		a := send(t, "GET", url+"/v1/status", nil)
		var told status.Answer
		if err := json.Unmarshal([]byte(a.body), &told); err != nil || a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %s: %v", a.status, a.header, a.body, err)
		}
		if v, known := told.Now.Of(status.Riders); !known || v != 7 || told.Version != "v1" || len(told.History[0]) != 3 {
			t.Fatalf("told is %s", a.body)
		}
	}
	if s.reads.Slots.Used() != slots || s.reads.Bytes.Used() != bytes {
		t.Error("who asks takes what is for reads")
	}
	for n := 21; ; n++ {
		a := send(t, "GET", url+"/v1/status", nil)
		if a.status == 429 && a.header.Get("Retry-After") != "" {
			break
		}
		if took := time.Since(began); a.status != 200 || n > 20+int(2*took.Seconds()) {
			t.Fatalf("the %dth of ten seconds' worth, after %v: %d %s", n, took, a.status, a.body)
		}
	}
}

// Clients that do not read their answers take no memory of their own, and others are
// answered meanwhile.
func TestStatusNobodyReads(t *testing.T) {
	s, url := testServer(t, Config{Reader: query.Sources{Status: sampledStatus(t)}})
	for i := range 50 {
		deaf(t, s, fmt.Sprint("127.0.3.", 1+i), strings.Repeat("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 20))
	}
	for range 50 {
		if a := send(t, "GET", url+"/v1/status", nil); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if s.reads.Slots.Used() != 0 || s.reads.Bytes.Used() != 0 {
		t.Error("who does not read takes what is for reads")
	}
}
