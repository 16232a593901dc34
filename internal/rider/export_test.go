package rider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/internal/node"
	"pingline/sink/sets"
)

// An export has each ping that was sent, or lies within the bound of it: stored in any
// shard, with an event or without, held, and what a shard that is away waits for.
func TestExportIsAllThatWasSent(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("InfluxDB ", version), func(t *testing.T) {
			r := startRig(t, version, nil)
			sent := ride("r-1", 200)
			r.post(append(sent, ride("r-11", 50)...)...)
			r.written()
			check := func(list []exported, events int) {
				t.Helper()
				for i := range sent {
					if d := off(list, &sent[i]); d > 10 {
						t.Errorf("ping %d is %.1f m off", i, d)
					}
				}
				for i := range list {
					if list[i].Event != "" {
						events--
					}
				}
				if events != 0 {
					t.Errorf("%d events are missing", events)
				}
			}
			list, said := r.export("r-1", nil)
			check(list, 8)
			held := 0
			for i := range list {
				if list[i].Waiting {
					held++
				}
			}
			if held == 0 || held > 2 || !strings.Contains(said, fmt.Sprintf("%d stored, %d not stored yet", len(list)-held, held)) {
				t.Errorf("%d are held, one of each of the two tracks at most: %s", held, said)
			}

			if err := r.db.Pause(); err != nil {
				t.Fatal(err)
			}
			more := ride("r-1", 40)
			for i := range more {
				more[i].At = sent[len(sent)-1].At + int64(i+1)*1000
			}
			r.post(more...)
			sent = append(sent, more...)
			resp, err := http.Get(r.opsURL() + "/v1/riders/r-1/unstored")
			if err != nil {
				t.Fatal(err)
			}
			waits := 0
			for dec := json.NewDecoder(resp.Body); dec.More(); waits++ {
				var e exported
				if err := dec.Decode(&e); err != nil || !e.Waiting || e.Rider != "r-1" {
					t.Fatalf("%+v: %v", e, err)
				}
			}
			resp.Body.Close()
			if waits < 10 {
				t.Errorf("%d pings wait for a shard that is away", waits)
			}
			if err := r.db.Continue(); err != nil {
				t.Fatal(err)
			}
			list, _ = r.export("r-1", nil)
			check(list, 9)
			for i := 1; i < len(list); i++ {
				if list[i] == list[i-1] {
					t.Errorf("ping %d is there twice", i)
				}
			}
		})
	}
}

// A part of the time is that part, and a collection of points is the same pings.
func TestExportOfATime(t *testing.T) {
	r := startRig(t, 1, func(c *node.Config) { c.Bound.MaxError, c.Bound.AccuracyCap = 0, 0 })
	sent := ride("ana@example.org/å", 30)
	r.post(sent...)
	r.written()
	list, _ := r.export("ana@example.org/å", func(c *ExportCmd) {
		c.From, c.To = givenTime{sent[10].At, true}, givenTime{sent[20].At, true}
	})
	if len(list) != 10 || list[0].TS != sent[10].At || list[9].TS != sent[19].At || list[0].Speed != 8.25 || list[0].Trip != sent[10].Trip {
		t.Errorf("%d pings: %+v", len(list), list)
	}
	out, _, err := run(t, &ExportCmd{ID: ID{"ana@example.org/å"}, Format: "geojson", Server: r.opsURL(), StoreFlags: r.storeFlags()})
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Type     string
		Rider    string `json:"rider_id"`
		Features []struct {
			Type     string
			Geometry struct {
				Type        string
				Coordinates [2]float64
			}
			Properties exported
		}
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || all.Type != "FeatureCollection" || len(all.Features) != 30 {
		t.Fatalf("%d features: %v", len(all.Features), err)
	}
	f := all.Features[7]
	if f.Geometry.Type != "Point" || f.Geometry.Coordinates != [2]float64{sent[7].Lon(), sent[7].Lat()} || f.Properties.TS != sent[7].At || all.Rider != f.Properties.Rider {
		t.Errorf("feature 7: %+v", f)
	}
}

// Half an export is none: a shard or a server that does not answer is
// an error.
func TestExportThatIsNotWhole(t *testing.T) {
	r := startRig(t, 1, nil)
	r.post(ride("r-1", 10)...)
	r.written()
	ops := r.opsURL()
	r.stop()
	cmd := &ExportCmd{ID: ID{"r-1"}, Format: "ndjson", Server: ops, StoreFlags: r.storeFlags()}
	if _, _, err := run(t, cmd); err == nil || !strings.Contains(err.Error(), "--server= exports only what is stored") {
		t.Errorf("without the server: %v", err)
	}
	cmd.Server = ""
	if out, said, err := run(t, cmd); err != nil || strings.Count(out, "\n") == 0 || !strings.Contains(said, "0 not stored yet") {
		t.Errorf("of the stores alone: %v %s", err, said)
	}
	cmd.Spread.Shard[1].URL = "http://127.0.0.1:1"
	cmd.Influx.Timeout = time.Second
	if _, _, err := run(t, cmd); err == nil || !strings.Contains(err.Error(), "shard s1") {
		t.Errorf("without a shard: %v", err)
	}
	for want, bad := range map[string]ExportCmd{
		"ID": {ID: ID{"a\x00b"}}, "--server": {ID: ID{"a"}, Server: "ftp://x"}, "--to": {ID: ID{"a"}, From: givenTime{2e12, true}, To: givenTime{1e12, true}},
	} {
		if _, _, err := run(t, &bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	var at givenTime
	if err := at.UnmarshalText([]byte("2026-03-01T00:00:00Z")); err != nil || at.ms != 1772323200000 {
		t.Errorf("%v %v", at, err)
	}
	for _, text := range []string{"yesterday", "1760000000"} {
		if at.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%s is a time", text)
		}
	}
}

// Each set is exported as it is; one that is not there is refused.
func TestExportOfASet(t *testing.T) {
	r := startRig(t, 1, func(c *node.Config) {
		quick(c)
		c.Shards[1].Set = "archive"
		c.Routes = []sets.Route{{Kind: "location", To: []sets.RouteTarget{{Name: "main"}, {Name: "archive"}}}, {Kind: "event", To: []sets.RouteTarget{{Name: "archive"}}}}
	})
	const rider = "ana"
	r.post(ride(rider, 150)...)
	r.written()
	counts := map[string][2]int{}
	for _, set := range []string{"", "main", "archive"} {
		list, _ := r.export(rider, func(c *ExportCmd) { c.Of, c.Server = set, "" })
		n := [2]int{}
		for _, e := range list {
			if e.Event == "" {
				n[0]++
			} else {
				n[1]++
			}
		}
		counts[set] = n
	}
	if all := counts[""]; all[0] < 10 || all[1] != 6 || counts["archive"] != all || counts["main"] != [2]int{all[0], 0} {
		t.Errorf("pings without and with an event, by set: %v", counts)
	}
	for set, want := range map[string]string{"none": `--set: there is no set "none"`} {
		cmd := &ExportCmd{ID: ID{rider}, Format: "ndjson", Of: set, StoreFlags: r.storeFlags()}
		if out, _, err := run(t, cmd); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("of set %s: %q, %v", set, out, err)
		}
	}
}
