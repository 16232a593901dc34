package sink

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"pingline/sink/influx"
	"slices"
	"strings"
	"sync"
	"testing"

	"pingline"
)

// ready returns n ready lines of a kind, for a shard.
func ready(kind pingline.EntryKind, to string, n int) []pingline.Entry {
	list := make([]pingline.Entry, n)
	for i := range list {
		list[i] = pingline.Entry{Kind: kind, To: to, Line: fmt.Sprintf("kind%d,to=-%s n=%di %d", kind, to, i, recently+int64(i))}
		if kind == pingline.ReplayedNano {
			list[i].Line += "000457"
		}
	}
	return list
}

// points returns n points of a kind, for a shard.
func points(kind pingline.EntryKind, to string, n int) []pingline.Entry {
	list := make([]pingline.Entry, n)
	for i := range list {
		list[i] = pingline.Entry{Kind: kind, To: to, Point: &pingline.Point{
			Name: fmt.Sprintf("points of kind %d", kind), Tags: []pingline.Tag{{Key: "to", Value: "-" + to}},
			Fields: []pingline.PointField{pingline.Int("n", int64(i)), pingline.Text("text", `say "so"`)}, At: recently + int64(i),
		}}
	}
	return list
}

// putBack returns n pings that are put back for a shard.
func putBack(seed uint64, to string, n int) []pingline.Entry {
	list := mixed(seed, n)
	for i := range list {
		list[i].Kind, list[i].To = pingline.Replayed, to
		list[i].Rider += "-replayed-" + to
	}
	return list
}

// everything is entries of all sorts, in no order.
func everything(seed uint64, n int) []pingline.Entry {
	list := append(mixed(seed, n), held(n/4)...)
	for i, to := range []string{"", "a", "b", "gone"} {
		list = append(list, putBack(seed, to, n/50+i)...)
		list = append(list, points(pingline.Activity, to, n/50+i)...)
		list = append(list, points(pingline.Self, to, n/50+i)...)
		list = append(list, ready(pingline.Replayed, to, n/50+i)...)
		list = append(list, ready(pingline.ReplayedNano, to, n/50+i)...)
		list = append(list, ready(pingline.Activity, to, n/50+i)...)
		list = append(list, ready(pingline.Self, to, n/50+i)...)
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// linesOf are the lines that a store should get, sorted.
func linesOf(entries ...pingline.Entry) []string {
	list := lines(slices.DeleteFunc(slices.Clone(entries), func(e pingline.Entry) bool { return e.IsLine() || e.Point != nil })...)
	for i := range entries {
		if p := entries[i].Point; p != nil {
			list = append(list, string(influx.AppendPoint(nil, p)))
		}
		if entries[i].IsLine() {
			line := entries[i].Line
			if entries[i].Kind != pingline.ReplayedNano {
				line += "000000"
			}
			list = append(list, line+"\n")
		}
	}
	slices.Sort(list)
	return list
}

// recorder is a store that remembers what it has taken.
type recorder struct {
	*influx.Bucket
	mu    sync.Mutex
	lines []string
	// answer, if set, says how to answer a write; 204 takes it. mu is not held.
	answer func(lines []string) int
}

func recording(t testing.TB, answer func(lines []string) int) *recorder {
	r := &recorder{answer: answer}
	r.Bucket = script(t, func(rw http.ResponseWriter, lines []string) {
		status := http.StatusNoContent
		if r.answer != nil {
			status = r.answer(lines)
		}
		if status == http.StatusNoContent {
			r.mu.Lock()
			r.lines = append(r.lines, lines...)
			r.mu.Unlock()
		}
		rw.WriteHeader(status)
	})
	return r
}

// taken returns what was taken so far, sorted.
func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.lines)
	slices.Sort(list)
	return list
}

// Every entry is written once, by one lane of one shard.
func TestEachEntryHasOneLane(t *testing.T) {
	for _, names := range [][]string{{"a"}, {"a", "b"}, {"c", "a", "b", "d-live"}} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			w := testLog(t)
			var stores []*recorder
			s := testSink(t, w, nil, func(c *Config) {
				c.Shards = nil
				for _, name := range names {
					stores = append(stores, recording(t, nil))
					c.Shards = append(c.Shards, ShardStore{Name: name, Store: stores[len(stores)-1].Bucket})
				}
				c.Spread = spread(t, names...)
			})
			start(t, s)
			var all []pingline.Entry
			for i := range 5 {
				some := everything(uint64(i), 1000)
				w.commit(some...)
				all = append(all, some...)
			}
			drained(t, s)
			balanced(t, s, w)
			var got []string
			for _, store := range stores {
				got = append(got, store.taken()...)
			}
			slices.Sort(got)
			sameLines(t, got, linesOf(all...))
			var pings, lines uint64
			for _, st := range s.Stats() {
				pings, lines = pings+st.Written, lines+st.Lines
			}
			if a := s.Account(); a.Pings.Written != pings || a.Lines.Written != lines || pings == 0 || lines == 0 {
				t.Errorf("the shards took %d pings and %d lines, the lanes wrote %+v", pings, lines, a)
			}
		})
	}
}

func TestRoutesRefused(t *testing.T) {
	influx := testInflux(t, influx.Config{URL: "http://127.0.0.1:1"})
	for name, change := range map[string]func(*Config){
		"a route of nothing":          func(c *Config) { c.Routes = map[string]int{"pings": 0} },
		"a route to nowhere":          func(c *Config) { c.Routes = map[string]int{"self": 1} },
		"a route to before the first": func(c *Config) { c.Routes = map[string]int{"self": -1} },
		"more shards to spread over":  func(c *Config) { c.Spread = spread(t, "a", "b") },
		"other shards to spread over": func(c *Config) { c.Spread = spread(t, "b") },
		"negative hand-over":          func(c *Config) { c.HandOver = -1 },
		"negative memory":             func(c *Config) { c.BatchMemory = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Log: testLog(t).log, Shards: []ShardStore{{Name: "a", Store: influx}}, DeadLetterDir: t.TempDir()}
			change(&cfg)
			if _, err := New(cfg); err == nil {
				t.Error("New took it")
			}
		})
	}
}

// An entry that the log cannot give back is counted once, however many lanes read it.
func TestLanesCountDamageOnce(t *testing.T) {
	w := testLog(t)
	stores := []*recorder{recording(t, nil), recording(t, nil)}
	s := testSink(t, w, nil, func(c *Config) {
		c.Shards = []ShardStore{{Name: "a", Store: stores[0].Bucket}, {Name: "b", Store: stores[1].Bucket}}
		c.Spread = spread(t, "a", "b")
	})
	start(t, s)
	some, torn := everything(1, 100), everything(2, 100)
	w.commit(some...)
	w.append([]byte("no commit"), everything(3, 100)...)
	payload := commit(torn...)
	w.append(payload[:len(payload)*2/3], torn...)
	w.commit(some...)
	drained(t, s)
	balanced(t, s, w)
	a := s.Account()
	if n := uint64(len(lines(some...))); a.Pings.Damaged <= n || a.Pings.Damaged >= 2*n || a.Lines.Damaged == 0 {
		t.Errorf("%+v, want a whole commit and a part of another damaged", a)
	}
}
