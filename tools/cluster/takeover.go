package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pingline/internal/pause"
	"pingline/partition"
)

const (
	probeEvery = 20 * time.Millisecond
	probes     = 5 // riders of a part
)

// probe is a phone: a rider who sends a ping at a time, by a request of its own, again and again.
type probe struct {
	*site
	rider  string
	part   int
	client *http.Client

	mu   sync.Mutex // guards what follows; nothing else is locked under it
	list []probed   // since forget
}

// probed is a request.
type probed struct {
	began, ended time.Time
	ok           bool
	why          string // that there was no answer, or no 200
	at           string // node that it was sent to
}

// newProbes returns riders of all parts.
func (s *site) newProbes() (list []*probe) {
	left := make([]int, s.o.parts)
	for i := 0; len(list) < probes*s.o.parts; i++ {
		rider := fmt.Sprint("probe-", i)
		if part := partition.Part(rider, s.o.parts); left[part] < probes {
			left[part]++
			list = append(list, &probe{site: s, rider: rider, part: part, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}})
		}
	}
	return list
}

func (p *probe) run(ctx context.Context) {
	for i := 0; pause.For(ctx, probeEvery) == nil; i++ {
		list := p.ready()
		if len(list) == 0 {
			continue // as long as a balancer has no node, it answers by itself
		}
		r := probed{began: time.Now()}
		for k := range list { // a node that cannot be reached leaves the request to another
			r.at = list[(i+k)%len(list)]
			err := p.send(ctx, r.at, r.began)
			r.ok, r.why = err == nil, ""
			if err == nil {
				break
			}
			r.why = err.Error()
			if dial := new(net.OpError); !errors.As(err, &dial) || dial.Op != "dial" {
				break
			}
		}
		r.ended = time.Now()
		if ctx.Err() == nil {
			p.mu.Lock()
			p.list = append(p.list, r)
			p.mu.Unlock()
		}
	}
}

func (p *probe) send(ctx context.Context, to string, at time.Time) error {
	body := fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":41.01,"lon":28.97}`, p.rider, at.UnixMilli())
	return p.post(ctx, to, "application/json", strings.NewReader(body))
}

func (p *probe) post(ctx context.Context, to, form string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to+"/v1/pings", body) // #nosec G704: a node of ours
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form)
	resp, err := p.client.Do(req) // #nosec G704: likewise
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%d %s", resp.StatusCode, bytes.TrimSpace(text))
	}
	return err
}

// forget lets go of requests but the last that was answered.
func (p *probe) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range slices.Backward(p.list) {
		if r.ok {
			p.list = slices.Clone(p.list[i:])
			return
		}
	}
}

// since returns whether a request that began after a time was answered, the longest time between
// two answers, and the requests without.
func (p *probe) since(at time.Time) (again bool, gap time.Duration, without []probed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last time.Time
	for _, r := range p.list {
		if !r.ok {
			without = append(without, r)
			continue
		}
		if !last.IsZero() {
			gap = max(gap, r.ended.Sub(last))
		}
		last = r.ended
		again = again || r.began.After(at)
	}
	return again, gap, without
}

// takeover is how riders saw a node go.
type takeover struct {
	gap      time.Duration // longest without an answer, of a rider of its part
	refused  int           // requests of its riders
	others   int           // requests of other riders that had no 200
	underWay int           // of them, those that it had when it was killed
	why      map[string]int
}

// takeovers has nodes go, by kill -9 and by SIGTERM, and prints how riders saw it.
func (s *site) takeovers(ctx context.Context, o *runFlags) error {
	if err := s.fill(ctx, o.past); err != nil {
		return err
	}
	list := s.newProbes()
	probing, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for _, p := range list {
		all.Go(func() { p.run(probing) })
	}
	var lines []string
	for _, way := range []struct {
		name string
		sig  syscall.Signal
	}{{"kill -9", syscall.SIGKILL}, {"SIGTERM", syscall.SIGTERM}} {
		var seen []takeover
		for i := range o.takeover {
			t, err := s.takeOne(ctx, list, i%o.parts, way.sig)
			if err != nil {
				return err
			}
			seen = append(seen, *t)
			s.say.line("%s %d: %v", way.name, i+1, t)
		}
		lines = append(lines, row(way.name, seen))
	}
	s.say.line("lease %v, %d riders of each part, who send each %v:\n\n| a node goes by | times | its riders without an answer, p50 | p90 | worst | requests of other riders without a 200 | of them, under way at that node |\n|---|---|---|---|---|---|---|\n%s\n",
		o.lease, probes, probeEvery, strings.Join(lines, "\n"))
	return nil
}

func (t *takeover) String() string {
	text := fmt.Sprintf("its riders had no answer for %.2f s, %d requests without a 200; of other riders %d, %d of them under way there",
		t.gap.Seconds(), t.refused, t.others, t.underWay)
	for why, n := range t.why {
		text += fmt.Sprintf("; %d × %s", n, why)
	}
	return text
}

func row(name string, seen []takeover) string {
	slices.SortFunc(seen, func(a, b takeover) int { return int(a.gap - b.gap) })
	others, underWay := 0, 0
	for i := range seen {
		others, underWay = others+seen[i].others, underWay+seen[i].underWay
	}
	at := func(share float64) float64 { return seen[int(share*float64(len(seen)-1)+0.5)].gap.Seconds() }
	return fmt.Sprintf("| %s | %d | %.2f s | %.2f s | %.2f s | %d | %d |", name, len(seen), at(0.5), at(0.9), at(1), others, underWay)
}

// fill has riders send pings, a few each.
func (s *site) fill(ctx context.Context, riders int) error {
	const each, batch = 4, 1000
	p := &probe{site: s, client: &http.Client{Timeout: patience}}
	for round := range each {
		at := time.Now().Add(time.Duration(round-each) * 5 * time.Second).UnixMilli()
		for i := 0; i < riders; i += batch {
			var body bytes.Buffer
			for k := i; k < min(i+batch, riders); k++ {
				fmt.Fprintf(&body, "{\"rider_id\":\"past-%d\",\"ts\":%d,\"lat\":%.5f,\"lon\":28.9%03d}\n", k, at, 41+float64(round)/1000, k%1000)
			}
			for err := error(nil); ; {
				if ready := s.ready(); len(ready) > 0 {
					if err = p.post(ctx, ready[i/batch%len(ready)], "application/x-ndjson", bytes.NewReader(body.Bytes())); err == nil {
						break
					}
				}
				if pause.For(ctx, time.Second) != nil {
					return fmt.Errorf("pings of riders before: %w", err)
				}
			}
		}
	}
	s.say.line("%d riders have sent %d pings each", riders, each)
	return nil
}

// takeOne has the node of a part go, and waits until its riders have another, and all is well.
func (s *site) takeOne(ctx context.Context, list []*probe, part int, sig syscall.Signal) (*takeover, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.whole(ctx, list); err != nil {
		return nil, err
	}
	n, err := s.ownerOf(ctx, part)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		p.forget()
	}
	ended := n.signal(sig)
	if ended == nil {
		return nil, fmt.Errorf("node %s is dead already", n.name)
	}
	<-ended
	gone := time.Now()
	answered := func(part int) bool {
		return !slices.ContainsFunc(list, func(p *probe) bool {
			again, _, _ := p.since(gone)
			return p.part == part && !again
		})
	}
	for !answered(part) {
		if err := pause.For(ctx, probeEvery); err != nil {
			return nil, fmt.Errorf("riders of part %d have no answer: %w", part, err)
		}
	}
	t := &takeover{why: make(map[string]int)}
	for _, p := range list {
		_, gap, without := p.since(gone)
		if p.part == part {
			t.gap, t.refused = max(t.gap, gap), t.refused+len(without)
			continue
		}
		t.others += len(without)
		for _, r := range without {
			if sig == syscall.SIGKILL && r.at == n.url && r.began.Before(gone) {
				t.underWay++
			} else {
				t.why[r.why]++
			}
		}
	}
	return t, n.start()
}

// whole returns once all parts have nodes, all nodes are there, and all riders are answered.
func (s *site) whole(ctx context.Context, list []*probe) error {
	for why := ""; ; {
		now := time.Now()
		if err := pause.For(ctx, time.Second); err != nil {
			return fmt.Errorf("the nodes are not well again: %w: %s", err, why)
		}
		well := s.rests() && s.warm(ctx)
		for _, p := range list {
			again, _, without := p.since(now)
			if well = well && again; len(without) > 0 {
				why = without[len(without)-1].why
			}
			p.forget()
		}
		if well {
			return nil
		}
	}
}

// warm reports whether nodes that wait have read along the logs that they are to.
func (s *site) warm(ctx context.Context) bool {
	if s.o.follow == 0 {
		return true
	}
	for _, n := range s.nodes {
		if n.saw() == takesPings {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/readyz", http.NoBody) // #nosec G704: a node of ours
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req) // #nosec G704: likewise
		if err != nil {
			return false
		}
		var of struct{ Notes []string }
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&of), resp.Body.Close())
		along := slices.DeleteFunc(of.Notes, func(note string) bool { return !strings.HasPrefix(note, "warm: ") })
		if err != nil || len(along) < min(s.o.follow, s.o.parts) {
			return false
		}
	}
	return true
}

// ownerOf returns the node that has a part.
func (s *site) ownerOf(ctx context.Context, part int) (*pinglineNode, error) {
	for _, n := range s.nodes {
		if n.saw() != takesPings {
			continue
		}
		text, err := get(ctx, n.ops+"/v1/parts")
		if err != nil {
			return nil, err
		}
		var of struct {
			Parts []struct {
				Part int
				Own  bool
			}
		}
		if err := json.Unmarshal(text, &of); err != nil {
			return nil, err
		}
		for _, row := range of.Parts {
			if row.Own && row.Part == part {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("no node says that it has part %d", part)
}
