package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/query"
	"pingline/queue"
	"pingline/sink/store"
)

// shelf is a store that holds what a reader of the log has carried there so far.
type shelf struct {
	t   *testing.T
	log *queue.Log

	mu      sync.Mutex
	next    uint64 // first commit that is not on the shelf
	points  []pingline.Entry
	partial bool
	err     error
}

func newShelf(t *testing.T, log *queue.Log) *shelf { return &shelf{t: t, log: log, next: log.First()} }

func (s *shelf) written() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// carry puts the commits before number to on the shelf.
func (s *shelf) carry(to uint64) {
	s.t.Helper()
	r := s.log.Read(s.written())
	defer r.Close()
	for s.written() < to {
		rec, err := r.Next(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		_, entries, err := pingline.DecodeCommit(rec.Payload)
		var e pingline.Entry
		for ok := true; ok && err == nil; {
			if ok, err = entries.Next(&e); ok && e.Stored() {
				s.mu.Lock()
				s.points = append(s.points, e)
				s.mu.Unlock()
			}
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.mu.Lock()
		s.next = rec.Number + 1
		s.mu.Unlock()
	}
}

func (s *shelf) reader() query.Sources {
	return query.Sources{
		Track: func(_ context.Context, q store.Query) (query.Points, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			var list []pingline.Entry
			for _, e := range s.points {
				if e.Rider == q.Rider && (q.Device == "" || e.Device == q.Device) && (e.At > q.From || e.At == q.From && e.Nano() >= q.FromNano) && e.At < q.To {
					list = append(list, e)
				}
			}
			slices.SortStableFunc(list, func(a, b pingline.Entry) int { return cmp.Compare(a.At, b.At) })
			p := query.Points{List: list, Partial: s.partial}
			n := q.Limit
			for n > 0 && n < len(list) && list[n].At == list[n-1].At {
				n++ // a page ends behind an instant
			}
			if n < len(list) {
				p.List, p.More, p.Next = list[:n], true, list[n-1].At+1
			}
			return p, s.err
		},
		Latest: func(_ context.Context, rider string) (query.Points, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			var newest *pingline.Entry
			for i, e := range s.points {
				if e.Rider == rider && e.Device == "" && (newest == nil || e.At > newest.At) {
					newest = &s.points[i]
				}
			}
			if newest == nil {
				return query.Points{Partial: s.partial}, s.err
			}
			return query.Points{List: []pingline.Entry{*newest}, Partial: s.partial}, s.err
		},
	}
}

type trackAnswer struct {
	Pings []struct {
		TS       int64
		Lat, Lon float64
		Device   string `json:"device_id"`
		Late     bool
		Waiting  bool
		Speed    *float64
	}
	Next       string
	CompleteTo int64 `json:"complete_to"`
	Partial    bool
	MemoryOnly bool `json:"memory_only"`
}

func get[T any](t *testing.T, url string) (a T, status int) {
	t.Helper()
	said := send(t, http.MethodGet, url, nil)
	if err := json.Unmarshal([]byte(said.body), &a); err != nil {
		t.Fatalf("%s answered %d %s: %v", url, said.status, said.body, err)
	}
	return a, said.status
}

// readServer runs a server whose store is a shelf.
func readServer(t *testing.T) (*ingest.Writer, *shelf, string) {
	t.Helper()
	log := testLog(t, queue.Config{})
	s := newShelf(t, log)
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}, Written: s.written})
	_, url := testServer(t, Config{Writer: w, Reader: s.reader()})
	return w, s, url
}

// Whatever is on its way, a reader who believes complete_to misses nothing.
func TestCompleteToIsNeverWrong(t *testing.T) {
	w, s, url := readServer(t)
	rng := rand.New(rand.NewPCG(1, 4))
	taken := map[string][]pingline.Ping{}
	start := time.Now().Add(-time.Hour).UnixMilli()
	at := start
	promised := 0
	for range 600 {
		j := new(ingest.Job)
		for range 1 + rng.IntN(20) {
			at += rng.Int64N(1000)
			p := pingline.Ping{Rider: fmt.Sprint("r-", rng.IntN(4)), Fix: pingline.Fix{At: at}}
			if rng.IntN(4) == 0 {
				p.Device = "watch"
			}
			if rng.IntN(10) == 0 {
				p.At -= rng.Int64N(200_000)
			}
			part := float64(p.At-start) / 3_600_000
			if err := p.SetPosition(41+part*rng.Float64()*0.001, -8+math.Round(part*100)/10); err != nil {
				t.Fatal(err)
			}
			j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, 0)
			taken[p.Rider] = append(taken[p.Rider], p)
		}
		submit(t, w, j)
		if last := s.log.Last(); rng.IntN(3) == 0 && s.written() <= last {
			s.carry(s.written() + 1 + rng.Uint64N(last+1-s.written()))
		}
		rider := fmt.Sprint("r-", rng.IntN(4))
		a, _ := get[trackAnswer](t, fmt.Sprintf("%s/v1/riders/%s/track?from=%d&limit=10000", url, rider, start-300_000))
		for _, p := range taken[rider] {
			if p.At < a.CompleteTo {
				promised++
				if d := offTrack(&a, &p); d > 10 {
					t.Fatalf("complete to %d, and the ping of %s %q at %d is %v m off what is shown", a.CompleteTo, rider, p.Device, p.At, d)
				}
			}
		}
	}
	if promised < 1000 {
		t.Errorf("only %d pings were promised to be visible: nothing is shown by that", promised)
	}
	// Of what is written and not held, all is promised.
	s.carry(s.log.Last() + 1)
	for rider, list := range taken {
		a, _ := get[trackAnswer](t, fmt.Sprintf("%s/v1/riders/%s/track?device=none", url, rider))
		if newest := list[len(list)-1].At; a.CompleteTo < newest {
			t.Errorf("%s: complete to %d with everything written, the newest is of %d", rider, a.CompleteTo, newest)
		}
	}
}

// offTrack returns how far, in metres, p is off the answer: 0 if it is in it.
func offTrack(a *trackAnswer, p *pingline.Ping) float64 {
	var before, after *int
	for i := range a.Pings {
		q := &a.Pings[i]
		if q.Device != p.Device {
			continue
		}
		if q.TS == p.At && math.Abs(q.Lat-p.Lat())+math.Abs(q.Lon-p.Lon()) < 1e-9 {
			return 0
		}
		if q.Late {
			continue
		}
		if k := i; q.TS <= p.At {
			before = &k
		} else if after == nil {
			after = &k
		}
	}
	if before == nil {
		return math.Inf(1)
	}
	b := a.Pings[*before]
	lat, lon := b.Lat, b.Lon
	if b.TS != p.At {
		if after == nil {
			return math.Inf(1)
		}
		q := a.Pings[*after]
		part := float64(p.At-b.TS) / float64(q.TS-b.TS)
		lat, lon = lat+part*(q.Lat-lat), lon+part*(q.Lon-lon)
	}
	return 111_195 * math.Hypot(lat-p.Lat(), (lon-p.Lon())*math.Cos(lat*math.Pi/180))
}

func TestLatestComesFromMemoryAndStore(t *testing.T) {
	w, s, url := readServer(t)
	latest := func() (a trackAnswer, status int) { return get[trackAnswer](t, url+"/v1/riders/r-1") }
	if _, status := latest(); status != http.StatusNotFound {
		t.Errorf("a rider nobody knows: status %d", status)
	}
	now := time.Now().UnixMilli()
	j := job("r-1", now-10_000, 1)
	j.Pings[0].SetOptional(pingline.HasSpeed, 3)
	submit(t, w, j)
	a, _ := latest()
	if len(a.Pings) != 1 || a.Pings[0].TS != now-10_000 || a.Pings[0].Speed != nil {
		t.Errorf("stored, not yet written: %+v, want its time and place alone", a)
	}
	s.carry(s.log.Last() + 1)
	if a, _ = latest(); len(a.Pings) != 1 || a.Pings[0].Speed == nil {
		t.Errorf("written: %+v, want its speed", a)
	}
	j = job("r-1", now-5000, 1)
	j.Pings[0].SetOptional(pingline.HasSpeed, 4)
	submit(t, w, j)
	if a, _ = latest(); len(a.Pings) != 1 || a.Pings[0].TS != now-5000 || *a.Pings[0].Speed != 4 || a.Partial {
		t.Errorf("held: %+v, want all of it", a)
	}
	s.err = errors.New("nothing there")
	if a, status := latest(); status != http.StatusOK || !a.Partial || a.Pings[0].TS != now-5000 {
		t.Errorf("the store is dead: status %d, %+v", status, a)
	}
	if _, status := get[any](t, url+"/v1/riders/r-2"); status != http.StatusServiceUnavailable {
		t.Errorf("the store is dead, and memory knows nothing: status %d", status)
	}
	if a, _ := latest(); !a.MemoryOnly {
		t.Errorf("the store is dead: %+v", a)
	}
	// A track of which a store should have the first point: what waits is there.
	if a, status := get[trackAnswer](t, url+"/v1/riders/r-1/track"); status != http.StatusOK || !a.Partial || !a.MemoryOnly || a.CompleteTo != 0 ||
		len(a.Pings) != 1 || a.Pings[0].TS != now-5000 || !a.Pings[0].Waiting {
		t.Errorf("a track of a dead store: status %d, %+v", status, a)
	}
	if a, status := get[trackAnswer](t, fmt.Sprintf("%s/v1/riders/r-1/track?to=%d", url, now-6000)); status != http.StatusOK || !a.MemoryOnly || len(a.Pings) != 0 {
		t.Errorf("of which nothing waits: status %d, %+v", status, a)
	}
	if said := send(t, http.MethodGet, url+"/v1/riders/r-1/track", nil, "Accept", mimeGeoJSON); said.status != http.StatusOK || !strings.Contains(said.body, `"memory_only":true`) {
		t.Errorf("as GeoJSON: %d %s", said.status, said.body)
	}
	if _, status := get[any](t, url+"/v1/riders/r-2/track"); status != http.StatusServiceUnavailable {
		t.Errorf("a track of a dead store, and memory knows nothing: status %d", status)
	}
	s.err, s.partial = nil, true
	if a, _ := get[trackAnswer](t, url+"/v1/riders/r-1/track"); !a.Partial || a.CompleteTo != 0 || a.MemoryOnly {
		t.Errorf("a track of which part is missing: %+v", a)
	}
}

func TestTrackPages(t *testing.T) {
	w, s, url := readServer(t)
	at := time.Now().Add(-time.Minute).UnixMilli()
	submit(t, w, job("r-1", at, 20))
	s.carry(s.log.Last() + 1)
	a, _ := get[trackAnswer](t, fmt.Sprintf("%s/v1/riders/r-1/track?limit=7&from=%d", url, at))
	if len(a.Pings) != 7 || a.Next != fmt.Sprint(at+6001) {
		t.Errorf("%d pings, next %q, want 7 and %d", len(a.Pings), a.Next, at+6001)
	}
	from := time.UnixMilli(at + 10_000).Format(time.RFC3339Nano)
	a, _ = get[trackAnswer](t, fmt.Sprintf("%s/v1/riders/r-1/track?from=%s&to=%d", url, from, at+12_000))
	if len(a.Pings) != 2 || a.Pings[0].TS != at+10_000 || a.Next != "" {
		t.Errorf("from %s, 2 s: %+v", from, a)
	}
	for query, want := range map[string]int{ // from <= ts < to, in any fraction of a ms
		fmt.Sprintf("from=%d.5&to=%d.25", at, at+2000):                                             2,
		fmt.Sprintf("from=%d.0&to=%d.0", at, at+2000):                                              2,
		fmt.Sprintf("from=%d.4567&to=%d.123456789", at+1000, at+1000):                              0,
		fmt.Sprintf("from=%d&to=%s", at, time.UnixMilli(at).Add(1).UTC().Format(time.RFC3339Nano)): 1,
	} {
		if a, status := get[trackAnswer](t, url+"/v1/riders/r-1/track?"+query); status != http.StatusOK || len(a.Pings) != want {
			t.Errorf("%s: status %d, %d points, want %d", query, status, len(a.Pings), want)
		}
	}
	said := send(t, http.MethodGet, fmt.Sprintf("%s/v1/riders/r-1/track?to=%d", url, at+3000), nil, "Accept", mimeGeoJSON)
	var g struct {
		Type     string
		Features []struct {
			Geometry struct {
				Type        string
				Coordinates [][]float64
			}
			Properties struct{ Times []int64 }
		}
	}
	if err := json.Unmarshal([]byte(said.body), &g); err != nil || said.header.Get("Content-Type") != mimeGeoJSON {
		t.Fatalf("GeoJSON: %s, %v", said.body, err)
	}
	if len(g.Features) != 1 || g.Features[0].Geometry.Type != "LineString" || len(g.Features[0].Geometry.Coordinates) != 3 ||
		len(g.Features[0].Properties.Times) != 3 || g.Features[0].Geometry.Coordinates[1][0] > -8 {
		t.Errorf("GeoJSON: %s", said.body)
	}
}

// An id in a path is decoded once, whatever it says.
func TestIDsInPaths(t *testing.T) {
	_, s, base := readServer(t)
	at := time.Now().UnixMilli()
	for _, id := range []string{"ana@example.org", "a b", "+49 170/1|{x}", "Zoë", "李小龍", "🚕", "100%", "a%20b", "a%2Fb", "...", "?q=1&r", "#c", `"'`, "a;b,c=d", "r/track"} {
		body, err := json.Marshal([]map[string]any{{"rider_id": id, "device_id": id, "ts": at, "lat": 48.1, "lon": 11.5}})
		if err != nil {
			t.Fatal(err)
		}
		if a := send(t, http.MethodPost, base+"/v1/pings", body); a.status != http.StatusOK || !strings.Contains(a.body, `"accepted":1`) {
			t.Errorf("%q: %d %s", id, a.status, a.body)
		}
		s.carry(s.log.Last() + 1)
		for _, path := range []string{"", "/track?device=" + url.QueryEscape(id)} {
			got, status := get[struct {
				RiderID string `json:"rider_id"`
				Pings   []struct {
					Device string `json:"device_id"`
				}
			}](t, base+"/v1/riders/"+url.PathEscape(id)+path)
			if status != http.StatusOK || got.RiderID != id || len(got.Pings) != 1 || got.Pings[0].Device != id {
				t.Errorf("%q%s: %d %+v", id, path, status, got)
			}
		}
	}
}

func TestReadsRefuse(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log})
	shelf := newShelf(t, log)
	r := shelf.reader()
	r.Cells = func(_ partition.Box, res, most int) ([]query.Activity, bool, error) {
		if res == 3 {
			return nil, false, errors.New("res: 3 is not kept")
		}
		return make([]query.Activity, most), false, nil
	}
	s, url := testServer(t, Config{Writer: w, Reader: r})
	for path, want := range map[string]string{
		"riders/r%20":                                        "rider_id: white space at an end",
		"riders/r%5Cx":                                       "rider_id: a backslash",
		"riders/%FF":                                         "rider_id: not UTF-8",
		"riders/" + strings.Repeat("r", 129):                 "rider_id: length 129 not in [1, 128]",
		"riders/r/track?from=1795814330":                     "from: 1795814330 looks like s since 1970; send ms",
		"riders/r/track?to=1795814330426123":                 "to: 1795814330426123 looks like µs since 1970; send ms",
		"riders/r/track?from=yesterday":                      `from: "yesterday" is neither ms since 1970 nor RFC 3339`,
		"riders/r/track?to=1760000000123.":                   `to: "1760000000123." is neither ms`,
		"riders/r/track?to=1760000000123.5e3":                "is neither ms since 1970 nor RFC 3339",
		"riders/r/track?to=99999999999999":                   "to: 99999999999999 is not in",
		"riders/r/track?from=5&to=4":                         "from: 5 is after to, 4",
		"riders/r/track?from=1700000000000&to=1702678400001": "from: 1700000000000 is more than 744h0m0s before to, 1702678400001",
		"riders/r/track?limit=0":                             `limit: "0" is not a number in [1, 10000]`,
		"riders/r/track?limit=10001":                         `limit: "10001" is not a number in`,
		"riders/r/track?device=a%20":                         "device: white space at an end",
		"cells":                                              `bbox: "" is not of the form`,
		"cells?bbox=1,2,3":                                   "bbox: ",
		"cells?bbox=1,2,3,x":                                 `bbox: "x" is not a number`,
		"cells?bbox=1,5,3,4":                                 "bbox: south 5 is north of north 4",
		"cells?bbox=1,2,3,4&res=16":                          `res: "16" is not a number in [0, 15]`,
		"cells?bbox=1,2,3,4&res=3":                           "res: 3 is not kept",
		"cells?bbox=1,2,3,4":                                 "bbox: holds more than 10000 cells",
	} {
		a, status := get[struct{ Error string }](t, url+"/v1/"+path)
		if status != http.StatusBadRequest || !strings.Contains(a.Error, want) {
			t.Errorf("%s: %d %q, want 400 with %q", path, status, a.Error, want)
		}
	}
	use(s.reads.Slots, s.reads.Slots.Most())
	if a := send(t, http.MethodGet, url+"/v1/riders/r", nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("too many reads: %d", a.status)
	}
}
