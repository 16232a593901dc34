package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// vitals are what a process takes at one moment.
type vitals struct {
	age                    time.Duration // of the process
	rss, goroutines, files int           // rss in MiB
}

// gauge looks at a process every second, and at the one that comes after it.
type gauge struct {
	t    *testing.T
	done chan struct{}
	quit chan struct{}

	mu    sync.Mutex
	p     *process // nil while there is none
	born  time.Time
	lives [][]vitals // of each process
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

// restarts says that it is about to end.
func (g *gauge) restarts() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.p = nil
}

func (g *gauge) stop() {
	close(g.quit)
	<-g.done
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
	if n, err := g.p.metric("go_goroutines"); err == nil {
		s.goroutines = int(n)
	}
	n := len(g.lives) - 1
	if life := g.lives[n]; len(life) > 0 && int(s.age.Minutes()) > int(life[len(life)-1].age.Minutes()) {
		g.t.Logf("process %d, minute %d: %s", n+1, int(s.age.Minutes()), spanOf(life, s.age-time.Minute))
	}
	g.lives[n] = append(g.lives[n], s)
}

// of returns a figure of each moment.
func of(life []vitals, figure func(vitals) int) (list []int) {
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
		list := of(life, f.of)
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
	for i, life := range g.lives {
		from := max(settling, life[len(life)-1].age/3)
		late := slices.DeleteFunc(slices.Clone(life), func(s vitals) bool { return s.age < from })
		if len(late) < 30 {
			g.t.Logf("process %d did not live long enough to be compared with itself", i+1)
			continue
		}
		for _, f := range gauged {
			middle, last := median(of(late[:len(late)/2], f.of)), median(of(late[len(late)/2:], f.of))
			g.t.Logf("process %d: a median of %d %s at first, of %d in the end", i+1, middle, f.name, last)
			if float64(last) > 1.2*float64(middle)+float64(f.slack) {
				g.t.Errorf("process %d: %d %s have become %d", i+1, middle, f.name, last)
			}
		}
	}
}
