package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pingline"
	"pingline/internal/node"
	"pingline/internal/unit"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var (
	pings    = flag.Int("pings", 0, "pings that each store is given; 0 is a small try")
	only     = flag.String("store", "", "stores that are measured, with commas between them; empty is all")
	variants = flag.String("variant", "", "variants of them, with commas between them; all is each that a store has; empty is none")
	riders   = flag.Int("riders", 2000, "riders of the pings")
	batch    = flag.Int("batch", 5000, "pings of a write")
	writers  = flag.Int("writers", 3, "writes at once")
	rounds   = flag.Int("rounds", 1, "how often each is measured; the table has the best of each figure, as other work on the machine makes all worse")
)

// patience is how long a busy machine may take.
const patience = 10 * time.Minute

// contender is a kind of store.
type contender struct {
	name     string
	run      func(t *host, v *variant) *place
	variants []variant
}

// variant is a way to run a store or to write to it that differs from the usual.
type variant struct {
	name   string
	server []string // settings of the server
	url    string   // what the URL ends in
	batch  int      // pings of a write; 0 is as the flag says
	sorted bool     // each batch is sorted by rider and time
	alter  []string // statements that alter the tables once they are there
}

// place is a running server and where pings go in it.
type place struct {
	shard  node.ShardConfig
	token  string
	exec   func(statement string) error // as an operator would
	settle func() error                 // has the server do now all that it would do later
	disk   func() (int64, error)        // bytes that the pings take
}

// host is a test that knows why it is skipped, and where its files are.
type host struct {
	*testing.T
	reason string
	dirs   []string
}

func (h *host) Skip(args ...any) { h.reason = fmt.Sprint(args...); h.T.Skip(args...) }

func (h *host) Skipf(format string, args ...any) { h.Skip(fmt.Sprintf(format, args...)) }

func (h *host) TempDir() string {
	dir := h.T.TempDir()
	h.dirs = append(h.dirs, dir)
	return dir
}

// cpu returns how long the servers and this process have worked, s.
func (h *host) cpu() (servers, own float64) {
	servers, err := worked()
	if err == nil {
		own, err = rusage(syscall.RUSAGE_SELF)
	}
	if err != nil {
		h.Fatal(err)
	}
	return servers, own
}

// TestStores gives each store the same pings. Without flags they are few, and it is a test of
// the comparison: make bench-stores makes it.
func TestStores(t *testing.T) { compare(t, contenders) }

// TestKafkaAndOthers is TestStores for servers that make test-stores has.
func TestKafkaAndOthers(t *testing.T) {
	if *pings > 0 {
		t.Skip("they are in TestStores")
	}
	// Cassandra starts twice, which takes longer than a test should.
	compare(t, slices.DeleteFunc(slices.Clone(fetched), func(c contender) bool { return c.name == "cassandra" }))
}

func compare(t *testing.T, list []contender) {
	if *pings > 0 {
		list = append(slices.Clone(list), fetched...)
	}
	var found []figures
	var left []string
	for _, c := range list {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), c.name) {
			continue
		}
		for _, v := range c.picked() {
			name := c.name
			if v.name != "" {
				name += " with " + v.name // no comma: a directory with one is two to Kafka
			}
			var several []figures
			reason := ""
			for range *rounds {
				t.Run(name, func(t *testing.T) {
					h := &host{T: t}
					defer func() { reason = h.reason }()
					several = append(several, measure(h, name, c.run(h, &v), &v))
				})
			}
			switch {
			case reason != "":
				left = append(left, fmt.Sprintf("%s: %s", name, reason))
			case len(several) > 0:
				found = append(found, best(several))
			}
		}
	}
	if *pings > 0 {
		fmt.Printf("\n%s\n", table(found, left))
	}
}

// picked returns the variants that are measured. The first is the usual way.
func (c *contender) picked() []variant {
	if *variants == "" {
		return []variant{{}}
	}
	names := strings.Split(*variants, ",")
	return slices.DeleteFunc(append([]variant{{}}, c.variants...), func(v variant) bool {
		return *variants != "all" && v.name != "" && !slices.Contains(names, v.name)
	})
}

// figures are the measurements of a store.
type figures struct {
	name              string
	disk              float64 // bytes a ping
	rate              float64 // pings/s
	writing, settling float64 // s of the server's CPU for a million pings, while they were written and behind that
	own               float64 // s of this process's CPU for a million pings
	memory            float64 // bytes
	reads             [len(questions)]span
}

// span is how long a question takes, and how long the server works for it, ms; NaN where
// there is no answer.
type span struct{ p50, p99, cpu float64 }

func best(list []figures) figures {
	m := list[0]
	of := func(get func(*figures) *float64) {
		for i := range list {
			*get(&m) = min(*get(&m), *get(&list[i]))
		}
	}
	for i := range list {
		m.rate = max(m.rate, list[i].rate)
	}
	of(func(f *figures) *float64 { return &f.disk })
	of(func(f *figures) *float64 { return &f.writing })
	of(func(f *figures) *float64 { return &f.settling })
	of(func(f *figures) *float64 { return &f.own })
	of(func(f *figures) *float64 { return &f.memory })
	for i := range questions {
		of(func(f *figures) *float64 { return &f.reads[i].p50 })
		of(func(f *figures) *float64 { return &f.reads[i].p99 })
		of(func(f *figures) *float64 { return &f.reads[i].cpu })
	}
	return m
}

// measure writes the pings to a place, lets it settle, and reads from it.
func measure(t *host, name string, p *place, v *variant) figures {
	w := newRide(v)
	to := p.open(t)
	if err := writeAgain(t.Context(), to, w.next(1)); err != nil { // makes the tables
		t.Fatal(err)
	}
	for _, statement := range v.alter {
		if err := p.exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	f := figures{name: name}
	million := float64(w.pings) / 1e6
	before, idle := t.cpu()
	began := time.Now()
	retries := w.load(t, to)
	took := time.Since(began)
	written, own := t.cpu()
	f.rate, f.writing, f.own = float64(w.pings)/took.Seconds(), (written-before)/million, (own-idle)/million
	f.memory = float64(resident())
	if err := errors.Join(to.Close(), p.settle()); err != nil {
		t.Fatal(err)
	}
	settled, _ := t.cpu()
	f.settling = (settled - written) / million
	disk, err := p.disk()
	if err != nil {
		t.Fatal(err)
	}
	f.disk = float64(disk) / float64(w.pings)
	to = p.open(t)
	defer func() { _ = to.Close() }()
	for i, q := range questions {
		f.reads[i] = w.ask(t, to, q)
	}
	t.Logf("%.0f pings/s, %d writes made again, %.1f B/ping, CPU-s/M %.1f + %.1f, own %.1f, %.0f MiB, reads %.3g", f.rate, retries, f.disk, f.writing, f.settling, f.own, f.memory/(1<<20), f.reads)
	return f
}

// open opens the store as a node would.
func (p *place) open(t *host) store.Store {
	cfg := node.DefaultConfig()
	cfg.Influx.Token, cfg.Influx.Timeout, cfg.Logger = p.token, patience, slog.New(slog.NewTextHandler(io.Discard, nil))
	p.shard.Name, p.shard.Weight = "bench", 1
	to, err := node.OpenStore(p.shard, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// writeAgain writes pings, again as long as the store asks for it.
func writeAgain(ctx context.Context, to store.Store, list []pingline.Entry) (err error) {
	_, err = writeCounted(ctx, to, list)
	return err
}

func writeCounted(ctx context.Context, to store.Store, list []pingline.Entry) (again int, err error) {
	rows := store.Rows{N: len(list)}
	for i := range list {
		rows.Bytes = to.AppendRow(rows.Bytes, &list[i])
	}
	for end := time.Now().Add(patience); ; again++ {
		err := to.Write(ctx, rows)
		if refused := new(store.Refusal); !errors.As(err, &refused) || refused.Kind != store.Retry || time.Now().After(end) {
			return again, err
		}
		time.Sleep(50 * time.Millisecond) // as the sink waits, which is no part of the comparison
	}
}

// ride makes pings, and knows what questions about them have for answers.
type ride struct {
	batch, pings int
	sorted       bool

	mu     sync.Mutex // guards the fields below; taken last
	convoy *storetest.Convoy
	left   int
	of     map[string]int // pings of each rider
	first  int64          // ms, midnight before all pings
	window [2]int64       // ms, ten minutes in their middle
	inside int            // pings of the window
}

const tenMinutes = 10 * 60 * 1000

func newRide(v *variant) *ride {
	w := &ride{batch: *batch, pings: *pings, sorted: v.sorted, of: make(map[string]int)}
	if v.batch > 0 {
		w.batch = v.batch
	}
	if w.pings == 0 {
		w.pings = 4000
	}
	w.left = w.pings
	day := time.Now().Add(-24 * time.Hour).UTC().Truncate(24 * time.Hour)
	w.first = day.UnixMilli()
	const begin, hours = 4 * 3_600_000, 16 * 3_600_000
	each := int64((w.pings + *riders - 1) / *riders)
	every := min(60_000, hours/each)
	w.convoy = storetest.NewConvoy(*riders, w.first+begin+every, every)
	middle := w.first + begin + every*each/2
	w.window = [2]int64{middle - tenMinutes/2, middle + tenMinutes/2}
	return w
}

// next returns the next pings, at most n, and none at the end.
func (w *ride) next(n int) []pingline.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]pingline.Entry, min(n, w.left))
	w.left -= len(list)
	for i := range list {
		e := w.convoy.Next()
		list[i] = *e
		w.of[e.Rider]++
		if w.window[0] <= e.At && e.At < w.window[1] {
			w.inside++
		}
	}
	if w.sorted {
		slices.SortFunc(list, func(a, b pingline.Entry) int {
			if c := strings.Compare(a.Rider, b.Rider); c != 0 {
				return c
			}
			return int(a.At - b.At)
		})
	}
	return list
}

// load writes all pings, and returns how many writes were made again.
func (w *ride) load(t *host, to store.Store) (retries int) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range *writers {
		all.Go(func() {
			for {
				list := w.next(w.batch)
				if len(list) == 0 {
					return
				}
				again, err := writeCounted(t.Context(), to, list)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				retries += again
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return retries
}

// question is a read of which the answer is known.
type question struct {
	name string
	of   func(w *ride, rider string) (store.Query, int) // and how many pings answer it
}

var questions = [...]question{
	{"newest of a rider", func(w *ride, rider string) (store.Query, int) {
		return store.Query{From: w.first - 30*86_400_000, To: time.Now().UnixMilli(), Rider: rider, Limit: 1, Newest: true}, 1
	}},
	{"a rider's day", func(w *ride, rider string) (store.Query, int) {
		return store.Query{From: w.first, To: w.first + 86_400_000, Rider: rider}, w.of[rider]
	}},
	{"all riders, 10 min", func(w *ride, _ string) (store.Query, int) {
		return store.Query{From: w.window[0], To: w.window[1]}, w.inside
	}},
}

// How often a question is asked: at most so often, and not much longer than that. Before that
// it is asked some times that do not count, as a server that has just begun is not itself yet.
const (
	mostReads = 200
	readsLast = 15 * time.Second
	warmReads = 50
	warmLasts = 5 * time.Second
)

// whereabouts is a store that has newest positions only.
type whereabouts interface {
	Newest(ctx context.Context, rider string, each func(*pingline.Entry) error) error
}

// ask asks a question about riders at random.
func (w *ride) ask(t *host, to store.Store, q question) span {
	rnd := rand.New(rand.NewPCG(1, 2))
	read := func(rider string) (int, error) {
		n := 0
		query, _ := q.of(w, rider)
		count := func(*pingline.Entry) error { n++; return nil }
		var err error
		switch of := to.(type) {
		case store.Reader:
			err = of.Points(t.Context(), query, func(e *pingline.Entry, _ int64) error { return count(e) })
		case whereabouts:
			if query.Limit != 1 {
				return -1, nil
			}
			err = of.Newest(t.Context(), rider, count)
		default:
			return -1, nil
		}
		return n, err
	}
	all := w.convoy.Riders()
	asked := func(most int, lasts time.Duration) (took []float64) {
		for began := time.Now(); len(took) < most && (len(took) < 3 || time.Since(began) < lasts); {
			rider := all[rnd.IntN(min(len(all), w.pings))].Rider
			at := time.Now()
			n, err := read(rider)
			took = append(took, time.Since(at).Seconds()*1000)
			if n < 0 {
				return nil
			}
			if _, want := q.of(w, rider); err != nil || n != want {
				t.Fatalf("%s: %d pings, want %d: %v", q.name, n, want, err)
			}
		}
		return took
	}
	most, lasts := mostReads, readsLast
	if *pings == 0 {
		most, lasts = 3, 0
	} else {
		asked(warmReads, warmLasts)
	}
	before, _ := t.cpu()
	took := asked(most, lasts)
	if took == nil {
		return span{math.NaN(), math.NaN(), math.NaN()}
	}
	after, _ := t.cpu()
	slices.Sort(took)
	return span{took[len(took)/2], took[(99*len(took)+99)/100-1], (after - before) * 1000 / float64(len(took))}
}

// table returns figures in Markdown.
func table(list []figures, left []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s pings of %s riders, %d a write by %d at once, %s UTC.\n\n", unit.Comma(float64(*pings)), unit.Comma(float64(*riders)), *batch, *writers, time.Now().UTC().Format("2006-01-02 15:04"))
	b.WriteString("Of reads: ms, p50 / p99, and CPU-ms of the server.\n\n| | bytes a ping | CPU-s/M pings, writing + settling | Pingline's CPU-s/M | memory, MiB | pings/s |")
	for _, q := range questions {
		b.WriteString(" " + q.name + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", 6+len(questions)) + "\n")
	for _, f := range list {
		fmt.Fprintf(&b, "| %s | %s | %.1f + %.1f | %.1f | %.0f | %s |", f.name, digits(f.disk), f.writing, f.settling, f.own, f.memory/(1<<20), unit.Comma(math.Round(f.rate/100)*100))
		for _, s := range f.reads {
			if math.IsNaN(s.p50) {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %s / %s, %s |", digits(s.p50), digits(s.p99), digits(s.cpu))
		}
		b.WriteString("\n")
	}
	for _, why := range left {
		b.WriteString("\nLeft out: " + why)
	}
	return b.String()
}

// digits returns a number with two digits that count.
func digits(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.2f", v)
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
