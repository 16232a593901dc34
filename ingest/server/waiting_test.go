package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/ingest"
)

// A track shows what was posted a moment ago, and says that it waits.
func TestTrackShowsWhatWaits(t *testing.T) {
	_, s, url := readServer(t)
	path := url + "/v1/riders/r/track"
	shown := func(query string) string {
		t.Helper()
		a, status := get[trackAnswer](t, path+query)
		if status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		text := ""
		for _, p := range a.Pings {
			text += fmt.Sprintf(" %d", p.TS%100)
			if p.Waiting {
				text += "w"
			}
			if p.Late {
				text += "l"
			}
		}
		return text
	}
	check := func(when, query, want string) {
		t.Helper()
		if got := shown(query); got != want {
			t.Errorf("%s, track%s shows%s, want%s", when, query, got, want)
		}
	}
	base := time.Now().Add(-time.Hour).UnixMilli()
	base -= base % 100_000
	post := func(device string, second int, lat, lon float64) {
		t.Helper()
		body := fmt.Sprintf(`{"rider_id":"r","device_id":%q,"ts":%d,"lat":%v,"lon":%v,"speed":3}`, device, base+int64(second)*1001, lat, lon)
		if a := send(t, http.MethodPost, url+"/v1/pings", []byte(body)); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
	}
	check("before all", "", "")
	post("", 1, 48.1, 11)
	check("with a first ping on its way", "", " 1w")
	post("", 2, 48.2, 11)
	check("with one held", "", " 1w 2w")
	post("watch", 2, 49.2, 12)
	post("", 3, 48.2, 11.1)
	post("watch", 5, 49.3, 12)
	check("of all devices", "", " 1w 2w 2w 3w 5w")
	check("of one", "?device=watch", " 2w 5w")
	check("of one not known", "?device=none", "")
	check("from and to", fmt.Sprintf("?from=%d&to=%d", base+2002, base+5005), " 2w 2w 3w")
	check("before them", fmt.Sprintf("?to=%d", base), "")

	a := send(t, http.MethodGet, path, nil, "Accept", mimeGeoJSON)
	var g struct {
		Features []struct {
			Geometry   struct{ Coordinates [][2]float64 }
			Properties struct{ Times, Waiting []int64 }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &g); err != nil || len(g.Features) != 2 || len(g.Features[0].Geometry.Coordinates) != 3 {
		t.Fatalf("GeoJSON: %d %s", a.status, a.body)
	}
	if p := g.Features[0].Properties; len(p.Times) != 3 || !slices.Equal(p.Waiting, p.Times) {
		t.Errorf("GeoJSON: times %v, waiting %v", p.Times, p.Waiting)
	}

	s.carry(s.log.First() + 1)
	check("with the first one stored", "", " 1 2w 2w 3w 5w")
	s.carry(s.log.Last() + 1)
	check("with all stored but those held", "?device=", " 1 2 2 3w 5w")
	newest, _ := get[trackAnswer](t, url+"/v1/riders/r")
	if len(newest.Pings) != 2 || !newest.Pings[0].Waiting || *newest.Pings[0].Speed != 3 {
		t.Errorf("the newest of each device: %+v, want both waiting", newest.Pings)
	}
	if held, _ := get[trackAnswer](t, path); *held.Pings[3].Speed != 3 {
		t.Errorf("of a held ping only %+v is shown", held.Pings[3])
	}

	// A page has its limit, and the next goes on behind it.
	p, _ := get[trackAnswer](t, path+"?limit=1")
	if len(p.Pings) != 1 || p.Next != fmt.Sprint(base+1002) {
		t.Errorf("a page of 1: %+v", p)
	}
	p, _ = get[trackAnswer](t, path+"?limit=1&from="+p.Next)
	if len(p.Pings) != 2 || p.Next != fmt.Sprint(base+2003) { // both of an instant
		t.Errorf("the next: %+v", p)
	}
	p, _ = get[trackAnswer](t, path+"?limit=2&from="+p.Next)
	if len(p.Pings) != 2 || p.Next != "" || !p.Pings[0].Waiting {
		t.Errorf("the last: %+v", p)
	}

	// One older than all is held of the backlog. A second place of its instant is late, and
	// shown when it is stored.
	post("", 0, 44, 11)
	check("with an older one held", "", " 0w 1 2 2 3w 5w")
	post("", 0, 47, 11)
	check("with a late one on its way", "", " 0w 1 2 2 3w 5w")
	s.carry(s.log.Last() + 1)
	check("with all stored again", "", " 0 0l 1 2 2 3w 5w")
}

// However much of it is stored, a track has all that was posted in order: each ping is
// on it, or within its bound of it, and each point is there once. So it is page by page.
func TestTrackIsWholeAtOnce(t *testing.T) {
	w, s, url := readServer(t)
	rng := rand.New(rand.NewPCG(21, 2))
	taken := map[string][]pingline.Ping{}
	start := time.Now().Add(-time.Hour).UnixMilli()
	at, waiting := start, 0
	lon := map[string]float64{}
	for range 200 {
		j := new(ingest.Job)
		for range 1 + rng.IntN(10) {
			at += 100 + rng.Int64N(900)
			p := pingline.Ping{Rider: fmt.Sprint("r-", rng.IntN(3)), Fix: pingline.Fix{At: at}}
			if rng.IntN(4) == 0 {
				p.Device = "watch"
			}
			key := p.Rider + p.Device
			if rng.IntN(3) == 0 {
				lon[key] += rng.Float64() * 0.001
			}
			if err := p.SetPosition(41, -8+lon[key]); err != nil {
				t.Fatal(err)
			}
			j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, 0)
			taken[p.Rider] = append(taken[p.Rider], p)
		}
		submit(t, w, j)
		if last := s.log.Last(); rng.IntN(4) == 0 && s.written() <= last {
			s.carry(s.written() + 1 + rng.Uint64N(last+1-s.written()))
		}
		rider := fmt.Sprint("r-", rng.IntN(3))
		path := fmt.Sprintf("%s/v1/riders/%s/track?limit=", url, rider)
		whole, _ := get[trackAnswer](t, path+"10000")
		seen := map[string]bool{}
		for i, p := range whole.Pings {
			if id := fmt.Sprint(p.Device, " ", p.TS); seen[id] || i > 0 && whole.Pings[i-1].TS > p.TS || p.Late {
				t.Fatalf("point %d of %s is there twice, out of order or late: %+v", i, rider, p)
			} else {
				seen[id] = true
			}
			if p.Waiting {
				waiting++
			}
		}
		for _, p := range taken[rider] {
			if d := offTrack(&whole, &p); !(d <= 10) {
				t.Fatalf("the ping of %s %q at %d is %v m off what is shown", rider, p.Device, p.At, d)
			}
		}
		var paged trackAnswer
		for next := fmt.Sprint(start); next != ""; {
			a, _ := get[trackAnswer](t, path+"49&from="+next)
			if len(a.Pings) > 49 || len(a.Pings) < 49 && a.Next != "" {
				t.Fatalf("a page of %d points, next %q, limit 49", len(a.Pings), a.Next)
			}
			paged.Pings, next = append(paged.Pings, a.Pings...), a.Next
		}
		if a, b := fmt.Sprint(paged.Pings), fmt.Sprint(whole.Pings); a != b {
			t.Fatalf("page by page %s, at once %s", a, b)
		}
	}
	if waiting < 1000 {
		t.Errorf("only %d points waited: nothing is shown by that", waiting)
	}
}

// The first upload of a rider, newest first, is one line of all its pings at once.
func TestFirstUploadNewestFirst(t *testing.T) {
	_, s, url := readServer(t)
	now := time.Now().UnixMilli()
	body := ""
	for i, place := range []string{"48.02,\"lon\":11.02", "48.01,\"lon\":11.01", "48.00,\"lon\":11.00"} {
		if i > 0 {
			body += ","
		}
		body += fmt.Sprintf(`{"rider_id":"never-seen","ts":%d,"lat":%s}`, now-int64(i)*60_000, place)
	}
	if a := send(t, http.MethodPost, url+"/v1/pings", []byte("["+body+"]")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	path := url + "/v1/riders/never-seen/track"
	for _, when := range []string{"at once", "when it is stored"} {
		a, _ := get[trackAnswer](t, path)
		if len(a.Pings) != 3 {
			t.Fatalf("%s: %+v", when, a)
		}
		for i, p := range a.Pings {
			if p.Late || p.TS != now-int64(2-i)*60_000 || p.Lat != 48+float64(i)/100 {
				t.Errorf("%s: point %d is %+v", when, i, p)
			}
		}
		said := send(t, http.MethodGet, path, nil, "Accept", mimeGeoJSON)
		var g struct {
			Features []struct {
				Geometry struct {
					Type        string
					Coordinates [][2]float64
				}
			}
		}
		if err := json.Unmarshal([]byte(said.body), &g); err != nil || len(g.Features) != 1 || g.Features[0].Geometry.Type != "LineString" ||
			!slices.Equal(g.Features[0].Geometry.Coordinates, [][2]float64{{11, 48}, {11.01, 48.01}, {11.02, 48.02}}) {
			t.Errorf("%s: %s", when, said.body)
		}
		s.carry(s.log.Last() + 1)
	}
}
