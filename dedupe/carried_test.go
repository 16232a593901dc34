package dedupe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/dedupe/carried"
)

// carriers give pings attributes, and hold verdicts and stored pings against them.
type carriers struct {
	dice   *rand.Rand
	keep   []string
	lost   bool                                          // pings that were judged: then no verdict is checked
	states map[string]*carrier                           // by track
	sent   map[string]map[moment]map[pingline.Attrs]bool // by track
}

// carrier is what a track's pings have had.
type carrier struct {
	door   string
	fuel   float64
	newest map[string]pingline.PointField // of the newest ping that has each
	at     int64
	past   map[string]pingline.PointField // of the last ping that was older
}

func newCarriers(seed uint64, keep []string) carriers {
	return carriers{
		dice: rand.New(rand.NewPCG(seed, 13)), keep: keep,
		states: map[string]*carrier{}, sent: map[string]map[moment]map[pingline.Attrs]bool{},
	}
}

func (c *carriers) of(p *pingline.Ping) *carrier {
	s := c.states[trackOf(p)]
	if s == nil {
		s = &carrier{door: "closed", newest: map[string]pingline.PointField{}, past: map[string]pingline.PointField{}}
		c.states[trackOf(p)] = s
	}
	return s
}

// dress gives p attributes, unless it has the place and time of a ping before: then the same.
func (c *carriers) dress(p *pingline.Ping) {
	for a := range c.sent[trackOf(p)][momentOf(&p.Fix)] {
		p.Attrs = a
		return
	}
	s := c.of(p)
	var list []pingline.PointField
	if c.dice.IntN(10) == 0 {
		s.door = []string{"open", "closed", "ajar"}[c.dice.IntN(3)]
	}
	if c.dice.IntN(20) == 0 {
		s.fuel = float64(c.dice.IntN(10)) / 10
	}
	if c.dice.IntN(3) > 0 {
		list = append(list, pingline.Text("door", s.door), pingline.Bool("other", c.dice.IntN(2) == 0))
	}
	if c.dice.IntN(3) == 0 {
		list = append(list, pingline.Float("fuel", s.fuel))
	}
	a, err := pingline.NewAttrs(list...)
	if err != nil {
		panic(err)
	}
	p.Attrs = a
}

// forget forgets the tracks that the filter has forgotten.
func (c *carriers) forget(f *Filter) {
	for tr := range c.states {
		rider, device, _ := strings.Cut(tr, "/")
		if !f.Has(&pingline.Ping{Rider: rider, Device: device}) {
			delete(c.states, tr)
		}
	}
}

// shown checks that a ping that shows a change was stored.
func (c *carriers) shown(t testing.TB, p *pingline.Ping, e *pingline.Entry, v pingline.Verdict) {
	t.Helper()
	tr, m := trackOf(p), momentOf(&p.Fix)
	if v == pingline.Duplicate {
		return
	}
	if c.sent[tr] == nil {
		c.sent[tr] = map[moment]map[pingline.Attrs]bool{}
	}
	if c.sent[tr][m] == nil {
		c.sent[tr][m] = map[pingline.Attrs]bool{}
	}
	c.sent[tr][m][p.Attrs] = true
	s := c.of(p)
	with := s.newest
	if len(s.newest) > 0 && p.At < s.at {
		with = s.past
	}
	watched := false
	first := len(s.newest) == 0
	for f := range p.Attrs.All() {
		if !slices.Contains(c.keep, f.Key) {
			continue
		}
		watched = true
		if before, ok := with[f.Key]; (!ok || before != f) && !e.Stored() && !c.lost {
			t.Fatalf("%s: %s changed at %d, and the ping is %v", tr, f.Key, p.At, v)
		}
		f.Key = strings.Clone(f.Key)
		with[f.Key] = f
	}
	if watched && (p.At > s.at || first) {
		s.at = p.At
	}
}

// attrsStored checks that a stored ping has the attributes with which it was sent.
func (c *carriers) attrsStored(t testing.TB, e *pingline.Entry) {
	t.Helper()
	if e.Promoted && !c.sent[trackOf(&e.Ping)][momentOf(&e.Fix)][e.Attrs] {
		t.Fatalf("%s: stored at %d with %s, it was sent with %v", trackOf(&e.Ping), e.At, e.Attrs.AppendJSON(nil), c.sent[trackOf(&e.Ping)][momentOf(&e.Fix)])
	}
}

// with returns p with attributes.
func with(p pingline.Ping, list ...pingline.PointField) pingline.Ping {
	a, err := pingline.NewAttrs(list...)
	if err != nil {
		panic(err)
	}
	p.Attrs = a
	return p
}

// keeping returns a run in which a change of the door keeps a ping.
func keeping(t *testing.T) *run {
	cfg := bare()
	cfg.Keep = []string{"door"}
	return newRun(t, cfg, Bound{MaxError: 10, AccuracyCap: 50})
}

func TestAChangeKeepsAPing(t *testing.T) {
	open, closed := pingline.Text("door", "open"), pingline.Text("door", "closed")
	at := func(i int, list ...pingline.PointField) pingline.Ping { return with(second(i), list...) }
	for _, tt := range []struct {
		name string
		send []pingline.Ping
		want string // a letter for each verdict
	}{
		{"of one value to another", []pingline.Ping{at(0, closed), at(1, closed), at(2, open), at(3, open), at(4, closed)}, "ahaha"},
		{"of the type alone", []pingline.Ping{at(0, pingline.Bool("door", true)), at(1, pingline.Float("door", 1)), at(2, pingline.Float("door", 1))}, "aah"},
		{"the first time that it is seen", []pingline.Ping{at(0), at(1), at(2, open), at(3, open)}, "ahah"},
		{"absent is unchanged", []pingline.Ping{at(0, open), at(1), at(2, open), at(3), at(4, closed)}, "ahhha"},
		{"another attribute does not count", []pingline.Ping{at(0, open), at(1, open, pingline.Float("fuel", 1)), at(2, open, pingline.Float("fuel", 2))}, "ahh"},
		{"sent again it is a duplicate", []pingline.Ping{at(0, closed), at(1, open), at(1, open), at(0, closed)}, "aadd"},
		{"where nothing moves", []pingline.Ping{at(0, closed), with(stand(0, 1), open), with(stand(0, 2), open), with(stand(0, 3), closed)}, "aaha"},
		{"older pings are compared with older ones", []pingline.Ping{at(0, closed), at(9, closed), at(3, closed), at(4, closed), at(5, open), at(6, open), at(10, closed), at(11, open)}, "ahahahha"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, got := keeping(t), ""
			for _, p := range tt.send {
				got += r.judge(p).String()[:1]
			}
			if got != tt.want {
				t.Errorf("verdicts %s, want %s", got, tt.want)
			}
			r.finish()
		})
	}
}

// stand is a ping of who has not moved since a second.
func stand(from, seconds int) pingline.Ping {
	p := second(from)
	p.At += int64(seconds) * 1000
	return p
}

// Where there is no room for attributes, pings with attributes are stored at once, and
// nothing is held that would lose them.
func TestNoRoomForAttributes(t *testing.T) {
	cfg := bare()
	cfg.MaxRiders = 100_000
	r := newRun(t, cfg, Bound{MaxError: 10, AccuracyCap: 50})
	f, err := carried.New(nil, 600)
	if err != nil {
		t.Fatal(err)
	}
	r.carried = f
	door := pingline.Text("door", "open")
	held := 0
	for n := range 100 {
		for i := range 3 {
			p := with(second(i), door)
			p.Rider = fmt.Sprint("r-", n)
			if r.judge(p) == pingline.Held {
				held++
			}
		}
	}
	if most := int64(600 * 9 / 8 * 2); held == 0 || held > 20 || r.carried.Bytes() > most {
		t.Errorf("%d pings are held with attributes of %d bytes, more than %d", held, r.carried.Bytes(), most)
	}
	p := second(5)
	p.Rider = "plain"
	r.judge(p)
	if p.At += 1000; r.judge(p) != pingline.Held {
		t.Error("a ping without attributes is not held")
	}
	r.finish()
}

// The memory that is counted is that of the tracks that are there.
func TestBytesOfAttributes(t *testing.T) {
	r := keeping(t)
	before := r.Bytes()
	for i := range 50 {
		r.judge(with(second(i), pingline.Text("door", fmt.Sprint(i/10)), pingline.Text("note", strings.Repeat("n", 60))))
	}
	with := r.Bytes()
	if with <= before || r.carried.Bytes() == 0 {
		t.Errorf("%d bytes, and %d before", with, before)
	}
	r.Erase("r-1")
	if n := r.carried.Bytes(); n != 0 {
		t.Errorf("%d bytes of attributes of nobody", n)
	}
}

func TestKeepIsChecked(t *testing.T) {
	for _, keep := range [][]string{{"lat"}, {"a", "a"}, {"a b"}, {""}} {
		cfg := bare()
		if cfg.Keep = keep; keep != nil {
			if _, err := New(cfg); err == nil {
				t.Errorf("%q is no error", keep)
			}
		}
	}
}

// A look at a ping that would be shed tells that it shows a change.
func TestChanged(t *testing.T) {
	r := keeping(t)
	open, closed := pingline.Text("door", "open"), pingline.Text("door", "closed")
	for i, tt := range []struct {
		p    pingline.Ping
		want bool
	}{
		{with(second(0)), false}, {with(second(1), open), true}, {with(second(2), open), false},
		{with(second(3), pingline.Float("fuel", 1)), false}, {with(second(4), closed), true},
	} {
		e := pingline.Entry{Ping: tt.p}
		if got := r.Changed(&e); got != tt.want {
			t.Errorf("ping %d shows a change: %v, want %v", i, got, tt.want)
		}
		r.judge(tt.p)
	}
}

// The bytes of attributes of held pings that pings displace are never more than HeldAttrs says,
// though it is asked before the first of them takes the last room.
func TestHeldAttrsOfDisplacedTracks(t *testing.T) {
	note := func(p pingline.Ping) pingline.Ping { return with(p, pingline.Text("note", strings.Repeat("n", 60))) }
	of := func(rider, device string, i int) pingline.Ping {
		p := second(i)
		p.Rider, p.Device = rider, device
		return p
	}
	for _, tt := range []struct {
		name   string
		riders int
		known  func(n int) (rider, device string) // 15 tracks, each of which holds a ping with attributes
		come   func(n int) (rider, device string) // 16 tracks that are new
	}{
		{"the last room of all riders", 16, func(n int) (string, string) { return fmt.Sprint("a-", n), "" }, func(n int) (string, string) { return fmt.Sprint("b-", n), "" }},
		{"the last room of a rider", 1000, func(n int) (string, string) { return "a", fmt.Sprint("a-", n) }, func(n int) (string, string) { return "a", fmt.Sprint("b-", n) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := bare()
			cfg.MaxRiders = tt.riders
			r := newRun(t, cfg, Bound{MaxError: 10, AccuracyCap: 50})
			for n := range 15 {
				rider, device := tt.known(n)
				r.judge(note(of(rider, device, 0)))
				if v := r.judge(note(of(rider, device, 1))); v != pingline.Held {
					t.Fatalf("a ping is %v", v)
				}
			}
			var come []pingline.Ping
			for n := range 16 {
				rider, device := tt.come(n)
				come = append(come, of(rider, device, 20))
			}
			most, got := r.HeldAttrs(come), 0
			var b Batch
			for i := range come {
				e := pingline.Entry{Ping: come[i]}
				r.Judge(&b, &e, r.bound, 0, r.now)
			}
			for i := range b.Entries {
				got += len(b.Entries[i].Attrs)
			}
			if got == 0 || got > most {
				t.Errorf("%d bytes of attributes are stored, HeldAttrs says at most %d", got, most)
			}
		})
	}
}
