package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// ridersIn returns which riders have points in a bucket, with what a route can
// send there.
func ridersIn(t *testing.T, bucket influx.Config) map[string]int {
	t.Helper()
	riders := make(map[string]int)
	all := store.Query{From: 0, To: time.Now().Add(time.Hour).UnixMilli()}
	if err := influxtest.Open(t, bucket).Points(t.Context(), all, func(e *pingline.Entry, _ int64) error { riders[e.Rider]++; return nil }); err != nil {
		t.Fatal(err)
	}
	return riders
}

// A bucket that a route names is missing for longer than --shard-handover, over a
// restart too: what is for it waits, nothing of it goes to the only shard there
// is, and all of it is there once the bucket is.
func TestRoutedBucketIsMissing(t *testing.T) {
	for version, token := range map[int]string{1: "", 2: "the-token"} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			influx := startInfluxWith(t, influxd.Config{Version: version, Token: token})
			dir := t.TempDir()
			args := []string{"--influx-token=" + token, "--influx-org=" + influx.Org(), "--shard-handover=1s",
				"--route=event=a/long", "--route=self=a/long", "--route=activity=a/long"}
			for i := range 2 {
				p := serve(t, dir, influx.URL(), args...)
				at := time.Now().UnixMilli()
				resp := post(t, p.url, fmt.Appendf(nil, `[{"rider_id":"sos-%d","ts":%d,"lat":1,"lon":2,"event":"sos"},{"rider_id":"plain-%d","ts":%d,"lat":1,"lon":2}]`, i, at, i, at))
				if resp.StatusCode != http.StatusOK {
					t.Fatal(resp.Status)
				}
				waits := regexp.MustCompile(`shard a:long: nothing written for ([3-9]|\d\d+)s`)
				eventually(t, "the bucket has been missing for long", func() bool {
					_, body := p.readyz()
					return waits.MatchString(body)
				})
				p.kill()
			}
			bucket := influxtest.Access(influx, "pingline")
			bucket.Token = token
			if riders := ridersIn(t, bucket); riders["sos-0"]+riders["sos-1"] > 0 || riders["plain-0"] != 1 {
				t.Errorf("points in the bucket of all others: %v", riders)
			}
			if err := influx.CreateBucket(t.Context(), "long", 0); err != nil {
				t.Fatal(err)
			}
			p := serve(t, dir, influx.URL(), args...)
			p.settled()
			bucket.Bucket = "long"
			if riders := ridersIn(t, bucket); riders["sos-0"] != 1 || riders["sos-1"] != 1 || len(riders) != 2 {
				t.Errorf("points in the bucket that was missing: %v", riders)
			}
		})
	}
}

// InfluxDB answers, and refuses all: the bucket is missing. That is nothing taken,
// as when it does not answer, and after 30 s the level says so.
func TestRefusingStoreIsOverload(t *testing.T) {
	influx := startInflux(t)
	p := serve(t, t.TempDir(), influx.URL(), "--influx-bucket=later", "--shed-hold=1s")
	at := time.Now().UnixMilli()
	post(t, p.url, fmt.Appendf(nil, `[{"rider_id":"r","ts":%d,"lat":1,"lon":2}]`, at))
	level := func(want float64) func() bool {
		return func() bool {
			n, err := p.metric("pingline_shed_level")
			return err == nil && n == want
		}
	}
	eventually(t, "level 1", level(1))
	if _, body := p.readyz(); !strings.Contains(body, "a shard has taken nothing for") {
		t.Errorf("readyz: %s", body)
	}
	if err := influx.CreateBucket(t.Context(), "later", 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "level 0", level(0))
}
