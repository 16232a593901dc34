package deadletter

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sink/influx"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// letterOf is a refusal of e, as it comes from the log.
func letterOf(e pingline.Entry) Letter {
	return Letter{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Shard: "a", Cause: store.TypeConflict, Reason: "said 'no'", Entry: e}
}

// samePing reports whether got is what puts e back into the log.
func samePing(got, e pingline.Entry) bool {
	e.Kind, e.To, e.Promoted, e.State = pingline.Replayed, "a", false, 0
	return got.Equal(&e)
}

// A ping is put back as it was, to the last bit of each number.
func TestLetterOfAPing(t *testing.T) {
	list := storetest.Fleet(1, 5000)
	extremes := pingline.Entry{Verdict: pingline.Accepted, Skipped: math.MaxUint32, Apart: true, SubKey: math.MaxUint16, State: 3, Promoted: true}
	extremes.Rider, extremes.Event, extremes.At = "extreme", "sos", -1
	extremes.LatE7, extremes.LonE7 = -900_000_000, 1_800_000_000
	extremes.SetOptional(pingline.HasSpeed, math.SmallestNonzeroFloat32)
	extremes.SetOptional(pingline.HasBattery, 0)
	corrected := extremes
	corrected.Corrected = true
	for _, e := range append(list, extremes, corrected) {
		l := letterOf(e)
		b, err := json.Marshal(&l)
		if err != nil {
			t.Fatal(err)
		}
		var got Letter
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if !samePing(got.Entry, e) || got.Cause != l.Cause || got.Reason != l.Reason || !got.At.Equal(l.At) {
			t.Fatalf("%s\nis read as %+v,\nwant %+v", b, got, l)
		}
	}
}

func TestLetterOfAPoint(t *testing.T) {
	p := &pingline.Point{
		Name: "cell_activity", At: storetest.Recently,
		Tags: []pingline.Tag{{Key: "cell", Value: `8a"2a`}, {Key: "res", Value: "8"}},
		Fields: []pingline.PointField{
			pingline.Int("pings", math.MaxInt64), pingline.Float("mean", math.SmallestNonzeroFloat64), pingline.Text("note", "a\"b, é"), pingline.Bool("early", true),
		},
	}
	for _, kind := range []pingline.EntryKind{pingline.Activity, pingline.Self} {
		l := letterOf(pingline.Entry{Kind: kind, Point: p})
		b, err := json.Marshal(&l)
		if err != nil {
			t.Fatal(err)
		}
		var got Letter
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if e := got.Entry; e.Kind != kind || e.To != "a" || e.Point == nil || !e.Point.Equal(p) {
			t.Errorf("%s\nis read as %+v", b, got)
		}
	}
}

// Letters of before hold line protocol: what Pingline wrote is known for what it
// is, and what it did not write is kept as it is.
func TestLetterOfBefore(t *testing.T) {
	for _, e := range storetest.Fleet(2, 2000) {
		if e.Late {
			e.Apart = true
		}
		line := strings.TrimSpace(string(influx.AppendLine(nil, &e)))
		b, err := json.Marshal(map[string]any{"at": time.Now(), "shard": "a", "reason": "partial write: field type conflict: x", "status": 400, "precision": "ns", "line": line})
		if err != nil {
			t.Fatal(err)
		}
		var got Letter
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if !samePing(got.Entry, e) || got.Cause != store.TypeConflict {
			t.Fatalf("%s\nis read as %+v", b, got)
		}
	}
	for _, tt := range []struct{ name, line, precision string }{
		{"another measurement", "m v=1 1", ""},
		{"an unknown field", "location,rider=r lat=1,lon=2,mood=3 1", ""},
		{"an unknown tag", "location,rider=r,x=y lat=1,lon=2 1", ""},
		{"a field of another type", `location,rider=r lat=1,lon=2,event=3 1`, ""},
		{"no rider", "location lat=1,lon=2 1", ""},
		{"no position", "location,rider=r speed=1 1", ""},
		{"no time", "location,rider=r lat=1,lon=2", ""},
		{"another ns than that of its position", "location,rider=r lat=1,lon=2 1000001", "ns"},
		{"a line that cannot be parsed", "location,rider=r lat= 1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := json.Marshal(map[string]string{"shard": "a", "line": tt.line, "precision": tt.precision})
			var got Letter
			if err := json.Unmarshal(b, &got); err != nil || got.Entry.Line != tt.line || got.Entry.To != "a" || !got.Entry.Kind.Replayed() {
				t.Errorf("%s is read as %+v, %v", b, got, err)
			}
			again, err := json.Marshal(&got)
			var twice Letter
			if err != nil || json.Unmarshal(again, &twice) != nil || !twice.Entry.Equal(&got.Entry) {
				t.Errorf("%s becomes %s, %v", b, again, err)
			}
		})
	}
	for line, kind := range map[string]pingline.EntryKind{
		"cell_activity,cell=8,res=8 pings=1i 1760000000123":   pingline.Activity,
		"pingline_node,node=a level=2i,up=true 1760000000123": pingline.Self,
	} {
		b, _ := json.Marshal(map[string]string{"shard": "a", "line": line})
		var got Letter
		if err := json.Unmarshal(b, &got); err != nil || got.Entry.Kind != kind || got.Entry.Point == nil || got.Entry.Point.At != 1760000000123 {
			t.Errorf("%s is read as %+v, %v", line, got, err)
		}
	}
}

func TestLetterThatCannotBeRead(t *testing.T) {
	for _, s := range []string{
		`{}`, `{"shard":"a"}`, `{"line":"a\nb"}`, `{"line":"` + strings.Repeat("x", pingline.MaxReadyLine+1) + `"}`,
		`{"ping":{"rider_id":"r","ts":1,"lat":91,"lon":2}}`, `{"ping":{"rider_id":"","ts":1,"lat":1,"lon":2}}`,
		`{"ping":{"rider_id":"r","ts":1,"lat":1,"lon":2,"cell":"xyz"}}`, `{"ping":{"rider_id":"r","ts":1,"lat":1,"lon":2,"numbers":{"speed":1e9}}}`, `{"ping":{"rider_id":"r","ts":1,"lat":1,"lon":2,"numbers":{"mood":1}}}`,
		`{"point":{"kind":"activity","name":"","ts":1}}`, `{"point":{"kind":"self","name":"x","ts":1,"fields":[["a","int","1.5"]]}}`,
		`{"point":{"kind":"self","name":"x","ts":1,"fields":[["a","complex","1"]]}}`,
		`{"shard":"no name","line":"m v=1 1"}`, `{"shard":"` + strings.Repeat("s", 300) + `","ping":{"rider_id":"r","ts":1,"lat":1,"lon":2}}`,
	} {
		var l Letter
		if err := json.Unmarshal([]byte(s), &l); err == nil {
			t.Errorf("%.80s is read as %+v", s, l)
		}
	}
}

func FuzzLetter(f *testing.F) {
	l := letterOf(storetest.Fleet(1, 1)[0])
	b, _ := json.Marshal(&l)
	f.Add(b)
	f.Add([]byte(`{"shard":"a","line":"location,rider=r lat=1,lon=2 1760000000123"}`))
	f.Add([]byte(`{"point":{"kind":"activity","name":"x","ts":1,"fields":[["a","int","1"]]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l, again Letter
		if json.Unmarshal(b, &l) != nil {
			return
		}
		out, err := json.Marshal(&l)
		if err != nil {
			t.Fatalf("%s is read and cannot be written: %v", b, err)
		}
		if err := json.Unmarshal(out, &again); err != nil || !again.Entry.Equal(&l.Entry) {
			t.Fatalf("%s becomes %s: %v", b, out, err)
		}
		// The log must be able to hold it.
		var back pingline.Entry
		if _, err := pingline.DecodeEntry(&back, pingline.AppendEntry(nil, &l.Entry, 0), 0); err != nil {
			t.Fatalf("%s cannot be put back into the log: %v", b, err)
		}
	})
}

// The documents show a letter as it is written.
func TestLetterAsDocumented(t *testing.T) {
	e := pingline.Entry{Kind: pingline.Judged, Verdict: pingline.Accepted, Cell: 0x8539220ffffffff, Skipped: 7}
	e.Rider, e.Event, e.At, e.LatE7, e.LonE7 = "r-1", "sos", 1_767_323_045_000, 411578120, -86291050
	e.SetOptional(pingline.HasSpeed, 7.42)
	l := letterOf(e)
	l.Reason = "status 400: partial write: field type conflict: …"
	b, err := json.Marshal(&l)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/failure-modes.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n"+string(b)+"\n") {
		t.Errorf("docs/failure-modes.md does not show\n%s", b)
	}
}
