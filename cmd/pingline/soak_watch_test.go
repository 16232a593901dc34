package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// vitals are what a process takes at one moment.
type vitals struct {
	age                    time.Duration // of the process
	rss, goroutines, files int           // rss in MiB
	state                  string        // of the log and the shards, as metrics tell
}

// gauge looks at a process every second, and at the one that comes after it.
type gauge struct {
	t    *testing.T
	done chan struct{}
	quit chan struct{}

	mu     sync.Mutex
	p      *process // nil while there is none
	born   time.Time
	killed time.Time  // when the one before was; zero if there was none
	lives  [][]vitals // of each process

	refusals refusals
}

// refusals counts honest requests that were not taken since it was last asked.
type refusals struct {
	mu    sync.Mutex
	count map[refusal]int
}

// refusal is how an honest request was answered that was not taken.
type refusal struct {
	status int
	reason string
}

func newGauge(t *testing.T, p *process) *gauge {
	g := &gauge{t: t, done: make(chan struct{}), quit: make(chan struct{})}
	g.begin(p)
	go g.run()
	return g
}

// begin says that a process is there.
func (g *gauge) begin(p *process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.p, g.born = p, time.Now()
	g.lives = append(g.lives, nil)
}

// restarts says that it is about to be killed.
func (g *gauge) restarts() {
	g.look() // refusals until now are its own
	g.mu.Lock()
	defer g.mu.Unlock()
	g.p, g.killed = nil, time.Now()
}

func (g *gauge) stop() {
	close(g.quit)
	<-g.done
	g.look()
}

func (g *gauge) run() {
	defer close(g.done)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-g.quit:
			return
		case <-second.C:
			g.look()
		}
	}
}

func (g *gauge) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.p == nil {
		return
	}
	s := vitals{age: time.Since(g.born), rss: g.p.rss()}
	if list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.p.cmd.Process.Pid)); err == nil {
		s.files = len(list)
	}
	if text, err := g.p.scrape(); err == nil {
		if n, err := valuesOf(text, "go_goroutines "); err == nil && len(n) == 1 {
			s.goroutines = int(n[0])
		}
		s.state = stateOf(text)
	}
	g.tell(s.state)
	n := len(g.lives) - 1
	if life := g.lives[n]; len(life) > 0 && int(s.age.Minutes()) > int(life[len(life)-1].age.Minutes()) {
		g.t.Logf("process %d, minute %d: %s; at its end %s", n+1, int(s.age.Minutes()), spanOf(life, s.age-time.Minute), s.state)
	}
	g.lives[n] = append(g.lives[n], s)
}

// note counts an honest request that was not taken.
func (r *refusals) note(status int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = make(map[refusal]int)
	}
	r.count[refusal{status, reason}]++
}

// take returns what was counted, and begins anew.
func (r *refusals) take() map[refusal]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.count
	r.count = nil
	return count
}

// tell prints the refusals of the last second, and the state they were made in. The
// caller holds mu.
func (g *gauge) tell(state string) {
	since := "no kill before"
	if !g.killed.IsZero() {
		since = fmt.Sprintf("%.1f s after the last kill", time.Since(g.killed).Seconds())
	}
	for r, n := range g.refusals.take() {
		g.t.Logf("process %d, %s: %d honest requests answered %d %q: %s", len(g.lives), since, n, r.status, r.reason, state)
	}
}

// stateOf says in a line what metrics tell of the log and of the shards; what is 0
// is left out.
func stateOf(metrics string) string {
	var list []string
	for line := range strings.Lines(metrics) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "pingline_"))
		if strings.HasSuffix(line, " 0") {
			continue
		}
		for _, of := range []string{"shed_level", "queue_bytes", "queue_commits{", "queue_full_seconds", "breaker_state{", "stopped{", "in_progress_bytes", "dead_letter_bytes", "log_trouble"} {
			if strings.HasPrefix(line, of) {
				list = append(list, line)
			}
		}
	}
	return fmt.Sprintf("%s, of a log of %s", strings.Join(list, ", "), *soakLog)
}

// samples returns a figure of each moment.
func samples(life []vitals, figure func(vitals) int) (list []int) {
	for _, s := range life {
		list = append(list, figure(s))
	}
	return list
}

func median(list []int) int {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

var gauged = []struct {
	name  string
	slack int // what may come and go
	of    func(vitals) int
}{
	{"MiB", 48, func(s vitals) int { return s.rss }},
	{"goroutines", 300, func(s vitals) int { return s.goroutines }},
	{"open files", 300, func(s vitals) int { return s.files }},
}

// spanOf says what the samples since an age show.
func spanOf(life []vitals, since time.Duration) (text string) {
	life = life[slices.IndexFunc(life, func(s vitals) bool { return s.age >= since }):]
	for _, f := range gauged {
		list := samples(life, f.of)
		text += fmt.Sprintf("%d to %d %s, median %d; ", slices.Min(list), slices.Max(list), f.name, median(list))
	}
	return text[:len(text)-2]
}

// settling is the age from which a process is compared with itself: its filter is
// full then, and so are its caches.
const settling = time.Minute

// check fails the test if a process takes more the older it is, or more than the
// one before it at the same age.
func (g *gauge) check() {
	compared := 0
	for i, life := range g.lives {
		if late := aged(life, max(settling, life[len(life)-1].age/3), math.MaxInt64); len(late) >= 30 {
			compared++
			g.compare(fmt.Sprintf("process %d, in its first half and its second", i+1), late[:len(late)/2], late[len(late)/2:])
		}
		if i == 0 {
			continue
		}
		before := g.lives[i-1]
		same := min(life[len(life)-1].age, before[len(before)-1].age)
		one, two := aged(before, settling, same), aged(life, settling, same)
		if min(len(one), len(two)) >= 30 {
			compared++
			g.compare(fmt.Sprintf("processes %d and %d at the same age", i, i+1), one, two)
		}
	}
	if compared == 0 {
		g.t.Log("no process lived long enough for what it takes to be compared: this says nothing about growth")
	}
}

// aged returns the moments of a life between two ages.
func aged(life []vitals, from, to time.Duration) []vitals {
	return slices.DeleteFunc(slices.Clone(life), func(s vitals) bool { return s.age < from || s.age > to })
}

// compare fails the test if the later of two stretches takes much more.
func (g *gauge) compare(of string, earlier, later []vitals) {
	for _, f := range gauged {
		was, is := median(samples(earlier, f.of)), median(samples(later, f.of))
		g.t.Logf("%s: a median of %d and of %d %s", of, was, is, f.name)
		if float64(is) > 1.2*float64(was)+float64(f.slack) {
			g.t.Errorf("%s: %d %s have become %d", of, was, f.name, is)
		}
	}
}
