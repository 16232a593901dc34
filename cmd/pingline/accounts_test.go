package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// heap returns what lives on the process's heap, in bytes, once it has looked for
// garbage.
func (p *process) heap() float64 {
	p.t.Helper()
	resp, err := http.Get(strings.TrimSuffix(p.ops, "/metrics") + "/debug/pprof/heap?gc=1")
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err != nil || resp.Body.Close() != nil {
		p.t.Fatal(err)
	}
	n, err := p.metric("go_memstats_heap_alloc_bytes")
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// accounts returns what the accounts say, together, and fails the test if one is
// over its limit.
func (p *process) accounts() (sum float64) {
	p.t.Helper()
	for _, name := range []string{"requests", "reads", "connections", "filter", "log", "sink", "cells", "rollup"} {
		label := fmt.Sprintf(`{account="%s"}`, name)
		n, err := p.metric("pingline_memory_bytes" + label)
		most, errMost := p.metric("pingline_memory_max_bytes" + label)
		if err != nil || errMost != nil {
			p.t.Fatal(err, errMost)
		}
		if n > most {
			p.t.Errorf("%s takes %.0f bytes, more than %.0f", name, n, most)
		}
		sum += n
	}
	return sum
}

// All memory on the heap is in an account that has a limit, under any load: new
// riders all over the globe, a fleet that stands still, one rider of many devices
// and readers of all of it, with InfluxDB away.
func TestAccountsHoldTheHeap(t *testing.T) {
	long(t)
	p := serve(t, t.TempDir(), "http://127.0.0.1:1", "--new-riders-rate=0", "--rider-rate=0", "--client-rate=0")
	fixed := p.heap() - p.accounts()
	rng := rand.New(rand.NewPCG(1, 1))
	strewn := func(n int) string {
		at := time.Now().UnixMilli()
		return ndjsonOf(5000, func(i int) string {
			return fmt.Sprintf(`{"rider_id":"new-%d-%d","trip_id":"a-rather-long-name-of-a-trip-%d","ts":%d,"lat":%.5f,"lon":%.5f}`,
				n, i, n, at, 160*rng.Float64()-80, 360*rng.Float64()-180)
		})
	}
	post := func(body string) {
		resp, err := http.Post(p.url+"/v1/pings", "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %.200s", resp.Status, text)
		}
	}
	for n := range 40 {
		for _, body := range []string{strewn(n), parked(n%4, 2000), devices(n, 200)} {
			post(body)
		}
		resp, err := http.Get(p.url + "/v1/cells?bbox=-9,41,-8,42")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if n%10 == 9 {
			says, is := p.accounts(), p.heap()
			t.Logf("%d riders: the accounts say %.1f MiB, the heap %.1f", 5000*(n+1), says/(1<<20), is/(1<<20))
			// The rest of the heap, in no account, stays as large as at the
			// start, but for the log's own index and buffers in use.
			if is > fixed+1.25*says+48<<20 {
				t.Errorf("the accounts say %.0f bytes, the heap %.0f, of which %.0f were there before", says, is, fixed)
			}
			if says > 1.5*is {
				t.Errorf("the accounts say %.0f bytes, the heap only %.0f", says, is)
			}
		}
	}
}
