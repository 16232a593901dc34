package privacy

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/phone"
)

// pingsOf decodes drafts: a ping is set by a function.
func pingsOf(t testing.TB, n int, set func(i int, d *phone.Draft)) *phone.Pings {
	t.Helper()
	p := new(phone.Pings)
	p.Reset(phone.Limits{MaxPings: n}.WithDefaults(), time.Now())
	fill(t, p, n, set)
	return p
}

func fill(t testing.TB, p *phone.Pings, n int, set func(i int, d *phone.Draft)) {
	var d phone.Draft
	for i := range n {
		d.Reset()
		d.SetName(phone.Rider, "ana")
		d.SetTime(time.Now().UnixMilli() - int64(i))
		set(i, &d)
		if err := p.Add(&d); err != nil {
			t.Fatal(err)
		}
	}
}

func doorOf(t testing.TB, s DoorSettings) *Door {
	t.Helper()
	if flag, err := s.Check(); err != nil {
		t.Fatal(flag, err)
	}
	d, err := s.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// all sets each number of a ping.
func all(d *phone.Draft, lat, lon float64) {
	d.SetNumber(phone.Lat, lat)
	d.SetNumber(phone.Lon, lon)
	for f := phone.Speed; f <= phone.Battery; f++ {
		d.SetNumber(f, 0.5)
	}
}

const home = "41.15,-8.61,300"

// Inside a zone a ping is moved or withheld, unless it has an event that passes; outside it
// stays as it is.
func TestDoor(t *testing.T) {
	const inLat, inLon, outLat, outLon = 41.1512345, -8.6087654, 41.16, -8.62
	for _, tt := range []struct {
		name     string
		settings DoorSettings
		own      string
		event    string
		lat, lon float64
		want     string // true, moved or withheld
	}{
		{"no zones", DoorSettings{}, "", "", inLat, inLon, "true"},
		{"dropped, the default", DoorSettings{Zones: []string{home}}, "", "", inLat, inLon, "withheld"},
		{"dropped", DoorSettings{Zones: []string{home}, Pings: "drop"}, "", "", inLat, inLon, "withheld"},
		{"moved", DoorSettings{Zones: []string{home}, Pings: "centre"}, "", "", inLat, inLon, "moved"},
		{"outside", DoorSettings{Zones: []string{home}}, "", "", outLat, outLon, "true"},
		{"of the key", DoorSettings{}, home, "", inLat, inLon, "withheld"},
		{"of the key, moved", DoorSettings{Pings: "centre"}, home, "", inLat, inLon, "moved"},
		{"of the key, beside one of all", DoorSettings{Zones: []string{"1,1,100"}}, home, "", inLat, inLon, "withheld"},
		{"an SOS", DoorSettings{Zones: []string{home}}, home, "sos", inLat, inLon, "true"},
		{"an SOS where pings are moved", DoorSettings{Zones: []string{home}, Pings: "centre"}, "", "sos", inLat, inLon, "true"},
		{"any event", DoorSettings{Zones: []string{home}, Events: []string{"*"}}, "", "shift_end", inLat, inLon, "true"},
		{"an event that passes", DoorSettings{Zones: []string{home}, Events: []string{"crash", "sos"}}, "", "sos", inLat, inLon, "true"},
		{"an event that does not pass", DoorSettings{Zones: []string{home}, Events: []string{"sos"}}, "", "shift_end", inLat, inLon, "withheld"},
		{"an event that is moved", DoorSettings{Zones: []string{home}, Pings: "centre", Events: []string{"sos"}}, "", "shift_end", inLat, inLon, "moved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var own *Zones
			if tt.own != "" {
				own = zonesOf(t, tt.own)
			}
			p := pingsOf(t, 3, func(i int, d *phone.Draft) {
				all(d, 10, float64(i))
				if i == 1 {
					all(d, tt.lat, tt.lon)
					d.SetName(phone.Event, tt.event)
				}
			})
			before := p.List[1]
			doorOf(t, tt.settings).Screen(p, own)
			if tt.want == "withheld" {
				r := p.FirstInvalid()
				if len(p.List) != 2 || p.Index[1] != 2 || p.Withheld() != 1 || p.Received != 3 || r != nil || len(p.Rejected) != 1 || p.Rejected[0].Index != 1 || p.Rejected[0].Field != "private_zone" {
					t.Errorf("%+v, rejected %+v", p.List, p.Rejected)
				}
				return
			}
			got := p.List[1]
			if tt.want == "true" {
				if got != before || p.Withheld() != 0 {
					t.Errorf("%+v became %+v", before, got)
				}
				return
			}
			want := before
			want.LatE7, want.LonE7, want.Accuracy = 411500000, -86100000, 300
			want.Speed, want.Heading, want.Altitude, want.Known = 0, 0, 0, pingline.HasAccuracy|pingline.HasBattery
			if got != want || p.Withheld() != 0 {
				t.Errorf("%+v became %+v, want %+v", before, got, want)
			}
		})
	}
}

// A ping that says no accuracy gets the zone's, or a reader would take its position for true.
func TestMovedPingsSayHowWide(t *testing.T) {
	p := pingsOf(t, 1, func(_ int, d *phone.Draft) {
		d.SetNumber(phone.Lat, 41.15)
		d.SetNumber(phone.Lon, -8.61)
	})
	doorOf(t, DoorSettings{Zones: []string{home}, Pings: "centre"}).Screen(p, nil)
	if f := &p.List[0]; f.Accuracy != 300 || !f.Has(pingline.HasAccuracy) {
		t.Errorf("%+v", f)
	}
}

// Riders of all pings, and those that the log would tell of rejected ones, are pseudonyms.
func TestRidersAtTheDoor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := MakeKey(path); err != nil {
		t.Fatal(err)
	}
	d := doorOf(t, DoorSettings{Keys: path, Zones: []string{home}})
	riders := []string{"ana", "ana", "bo", "ana", d.Names().Of("ana")}
	p := pingsOf(t, len(riders)+2, func(i int, draft *phone.Draft) {
		all(draft, 10, 20)
		switch {
		case i < len(riders):
			draft.SetName(phone.Rider, riders[i])
		case i == len(riders):
			all(draft, 91, 20)
		default:
			all(draft, 41.15, -8.61)
		}
	})
	d.Screen(p, nil)
	for i := range p.List {
		if p.List[i].Rider != d.Names().Of(riders[i]) {
			t.Errorf("ping %d is of %q", i, p.List[i].Rider)
		}
	}
	if len(p.Rejected) != 2 || p.Rejected[0].Rider != d.Names().Of("ana") || p.Rejected[1].Rider != d.Names().Of("ana") || p.FirstInvalid() != &p.Rejected[0] {
		t.Errorf("rejected: %+v", p.Rejected)
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		flag     string
		settings DoorSettings
		want     string
	}{
		{"private-zone", DoorSettings{Zones: []string{"here"}}, "zone 1: not of the form"},
		{"private-zone", DoorSettings{Zones: strings.Split(strings.Repeat(home+" ", MaxZones)+home, " ")}, "1001 zones are more than 1000"},
		{"private-zone-pings", DoorSettings{Pings: "keep"}, `"keep" is not drop or centre`},
		{"private-zone-events", DoorSettings{Events: []string{"sos", "*"}}, "* is there with others"},
		{"private-zone-events", DoorSettings{Events: []string{"S O S"}}, "characters other than"},
	} {
		flag, err := tt.settings.Check()
		if flag != tt.flag || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: --%s: %v", tt.want, flag, err)
		}
	}
	s := DoorSettings{Keys: filepath.Join(t.TempDir(), "none")}
	if _, err := s.Open(slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "--pseudonyms: ") {
		t.Errorf("a key that is not there: %v", err)
	}
}

// What the log says at the start has neither a position nor a key.
func TestStartIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := MakeKey(path); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	s := DoorSettings{Zones: []string{home, "41.2,-8.7,100"}, Pings: "centre", Keys: path}
	timeless := func(_ []string, a slog.Attr) slog.Attr { // seconds may look like a position
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	d, err := s.Open(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{ReplaceAttr: timeless})))
	if err != nil {
		t.Fatal(err)
	}
	text := said.String()
	for _, want := range []string{"zones=2", `pings="moved to the centre"`, "riders are stored by pseudonyms", "key=" + d.Names().Mark()} {
		if !strings.Contains(text, want) {
			t.Errorf("%s: no %s", text, want)
		}
	}
	if strings.Contains(text, "41.") || strings.Contains(text, "8.6") {
		t.Errorf("a position is told: %s", text)
	}
}

// city returns zones in a square of 40 km.
func city(t testing.TB, n int) (texts []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	for range n {
		texts = append(texts, fmt.Sprintf("%f,%f,%d", 41+0.36*r.Float64(), -8.8+0.48*r.Float64(), 100+r.IntN(300)))
	}
	return texts
}

// BenchmarkScreen is the cost of the door for requests of 100 pings of one rider who rides
// through a city: without zones, with one, with a thousand of the same city, and with
// pseudonyms; and of a gateway whose pings are each of another rider than the last.
func BenchmarkScreen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "key")
	if err := MakeKey(path); err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name     string
		settings DoorSettings
		riders   int
	}{
		{"off", DoorSettings{}, 1},
		{"zones=1", DoorSettings{Zones: city(b, 1), Pings: "centre"}, 1},
		{"zones=8", DoorSettings{Zones: city(b, 8), Pings: "centre"}, 1},
		{"zones=1000", DoorSettings{Zones: city(b, 1000), Pings: "centre"}, 1},
		{"pseudonyms", DoorSettings{Keys: path}, 1},
		{"pseudonyms/riders=2", DoorSettings{Keys: path}, 2},
	} {
		b.Run(bm.name, func(b *testing.B) {
			d := doorOf(b, bm.settings)
			r := rand.New(rand.NewPCG(5, 6))
			var requests []*phone.Pings
			for range 100 {
				lat, lon := 41+0.36*r.Float64(), -8.8+0.48*r.Float64()
				requests = append(requests, pingsOf(b, 100, func(i int, d *phone.Draft) {
					d.SetName(phone.Rider, [...]string{"r-000001", "r-000002"}[i%bm.riders])
					all(d, lat+float64(i)*1e-4, lon+float64(i)*1e-4)
				}))
			}
			work := new(phone.Pings)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				from := requests[n%len(requests)]
				work.Clear()
				work.List, work.Index = append(work.List[:0], from.List...), append(work.Index[:0], from.Index...)
				d.Screen(work, nil)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*100), "ns/ping")
		})
	}
}
