package forward

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
)

// messageOf returns the message of jobs, all to a part.
func messageOf(parts, part int, jobs ...*ingest.Job) []byte {
	now := time.Now()
	var calls []*call
	for _, j := range jobs {
		c := newCall()
		room := unlimited
		if j.Allowance != nil {
			room = j.Allowance.Room()
		}
		c.begin(part, j.Pings[0].At, j.Urgent, room)
		c.until = now.Add(max(j.Patience, time.Second))
		for i := range j.Pings {
			c.pings++
			c.entries = appendPing(c.entries, &j.Pings[i], j.Cells[i], c.at)
		}
		calls = append(calls, c)
	}
	return appendMessage(nil, parts, calls, now)
}

// anyPing returns a valid ping of a rider.
func anyPing(rng *rand.Rand, rider string) pingline.Ping {
	names := []string{"", "phone", "ü ö", "a:b@c", string(make([]byte, 0)), fmt.Sprint(rng.Uint64())}
	name := func() string { return names[rng.IntN(len(names))] }
	p := pingline.Ping{Rider: rider, Device: name(), Trip: name()}
	if rng.IntN(3) == 0 {
		p.Event = "sos_1"
	}
	p.At = []int64{t0 + rng.Int64N(1e9), 0, -1, math.MinInt64, math.MaxInt64}[rng.IntN(5)]
	if err := p.SetPosition(rng.Float64()*180-90, rng.Float64()*360-180); err != nil {
		panic(err)
	}
	for i := range pingline.Numbers {
		if r := pingline.Numbers[i]; rng.IntN(2) == 0 {
			p.SetOptional(1<<i, []float64{r.Lo, r.Hi, r.Lo + rng.Float64()*(r.Hi-r.Lo)}[rng.IntN(3)])
		}
	}
	p.Corrected = rng.IntN(4) == 0
	if rng.IntN(3) == 0 {
		var err error
		p.Attrs, err = pingline.NewAttrs(pingline.Bool("door", rng.IntN(2) == 0), pingline.Float("fuel", rng.Float64()), pingline.Text("who", name()))
		if err != nil {
			panic(err)
		}
	}
	return p
}

// A ping is the same at its owner, bit for bit.
func TestPingsSurviveTheWire(t *testing.T) {
	if n := reflect.TypeFor[pingline.Ping]().NumField() + reflect.TypeFor[pingline.Fix]().NumField(); n != 6+10 {
		t.Errorf("a ping has %d fields: does the message carry the new one, and this test set it?", n)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	riders := ridersOf(2, 4, 50)
	var b bundle // used again, as a node does
	for range 300 {
		jobs := make([]*ingest.Job, 1+rng.IntN(5))
		for k := range jobs {
			j := &ingest.Job{Urgent: rng.IntN(2) == 0, Patience: time.Duration(rng.IntN(20)) * time.Second}
			if rng.IntN(2) == 0 {
				j.Allowance = &allowance{room: rng.IntN(100)}
			}
			for range 1 + rng.IntN(20) {
				p := anyPing(rng, riders[rng.IntN(len(riders))])
				j.Pings = append(j.Pings, p)
				j.Cells = append(j.Cells, []uint64{0, 0x85392a8ffffffff, 0x8f392a8d2000000, rng.Uint64(), 0x8001fffffffffff}[rng.IntN(5)])
			}
			jobs[k] = j
		}
		b.body = append(b.body[:0], messageOf(4, 2, jobs...)...)
		if err := b.decode(4, 2); err != nil {
			t.Fatal(err)
		}
		for k, want := range jobs {
			got := &b.jobs[k].job
			if !slices.Equal(got.Pings, want.Pings) || !slices.Equal(got.Cells, want.Cells) || got.Urgent != want.Urgent {
				t.Fatalf("job %d came as\n%+v, sent was\n%+v", k, got, want)
			}
			if (got.Allowance == nil) != (want.Allowance == nil) || got.Allowance != nil && got.Allowance.Room() != want.Allowance.Room() {
				t.Fatalf("the room of job %d is another", k)
			}
			if full := max(want.Patience, time.Second); got.Patience > full-min(full/4, time.Second) || got.Patience < full/2 {
				t.Fatalf("of %v the owner is given %v", full, got.Patience)
			}
		}
	}
}

func TestAnswersSurviveTheWire(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var jobs []*posted
		var calls []*call
		for k := range 1 + rng.IntN(6) {
			p, c := new(posted), newCall()
			c.begin(k, 0, false, unlimited)
			c.addr = "host:1"
			c.pings = 1 + rng.IntN(300)
			switch rng.IntN(6) {
			case 0:
				p.err = ingest.ErrTooLarge
			case 1:
				p.err = ingest.ErrOnlyEvents
			case 2:
				p.err = fmt.Errorf("the log is full: %w", ingest.ErrUnavailable)
			}
			p.job.Bound, p.job.New = dedupe.Bound{MaxError: rng.Float64() * 100, AccuracyCap: rng.Float64()}, rng.IntN(c.pings+1)
			for i := range c.pings {
				v := pingline.Verdict(1 + rng.IntN(5))
				if p.job.Verdicts = append(p.job.Verdicts, v); v == pingline.Shed && rng.IntN(2) == 0 {
					p.job.Over = append(p.job.Over, int32(i))
				}
			}
			jobs, calls = append(jobs, p), append(calls, c)
		}
		if err := decodeAnswer(appendAnswer(nil, jobs), calls); err != nil {
			t.Fatal(err)
		}
		for k, c := range calls {
			p := jobs[k]
			if (p.err == nil) != (c.err == nil) || p.err != nil && !errors.Is(c.err, errors.Unwrap(fmt.Errorf("%w", p.err))) && !errors.Is(c.err, ingest.ErrUnavailable) {
				t.Fatalf("%v came as %v", p.err, c.err)
			}
			for _, kind := range []error{ingest.ErrTooLarge, ingest.ErrOnlyEvents, ingest.ErrUnavailable} {
				if errors.Is(p.err, kind) != errors.Is(c.err, kind) {
					t.Fatalf("%v came as %v", p.err, c.err)
				}
			}
			if p.err == nil && (c.bound != p.job.Bound || c.new != p.job.New || !slices.Equal(c.verdicts, p.job.Verdicts) || !slices.Equal(c.over, p.job.Over)) {
				t.Fatalf("%+v came as %+v", p.job, c)
			}
		}
	}
}

func FuzzMessage(f *testing.F) {
	j := jobOf(ridersOf(1, 2, 3), 2)
	j.Allowance = &allowance{room: 5}
	f.Add(messageOf(2, 1, j))
	rng := rand.New(rand.NewPCG(5, 6))
	many := new(ingest.Job)
	for range 20 {
		many.Pings, many.Cells = append(many.Pings, anyPing(rng, ridersOf(1, 2, 1)[0])), append(many.Cells, rng.Uint64())
	}
	f.Add(messageOf(2, 1, many, j))
	f.Add([]byte{form, 2, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{form, 2, 1, 1, 0, 1, 0, 0xff, 0xff, 3, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := bundle{body: body}
		if err := b.decode(2, 1); err != nil {
			if !errors.Is(err, errGarbled) && !errors.Is(err, errNotOurs) {
				t.Errorf("%v", err)
			}
		} else {
			for _, p := range b.jobs {
				for i := range p.job.Pings {
					if err := p.job.Pings[i].Validate(); err != nil || partition.Part(p.job.Pings[i].Rider, 2) != 1 {
						t.Errorf("ping %+v: %v", p.job.Pings[i], err)
					}
				}
			}
		}
		pings := 0
		for _, p := range b.jobs {
			pings += cap(p.job.Pings)
		}
		if len(b.jobs)*minJob > len(body) || pings*minPing > 4*len(body)+1000 {
			t.Errorf("%d jobs and room for %d pings from %d bytes", len(b.jobs), pings, len(body))
		}
	})
}

func FuzzAnswer(f *testing.F) {
	p := &posted{job: ingest.Job{Verdicts: []pingline.Verdict{1, 5, 5}, Over: []int32{1, 2}, New: 2}}
	f.Add(appendAnswer(nil, []*posted{p, {err: ingest.ErrTooLarge}}))
	f.Add(appendAnswer(nil, []*posted{p, {err: ingest.ErrUnavailable}}))
	f.Add([]byte{form, 2, kindUnavailable, 0xff, 0x01, 'a'})
	f.Fuzz(func(t *testing.T, body []byte) {
		calls := []*call{newCall(), newCall()}
		for _, c := range calls {
			c.begin(1, 0, false, unlimited)
			c.pings = 3
		}
		if decodeAnswer(body, calls) != nil {
			return
		}
		for _, c := range calls {
			if c.err != nil {
				continue
			}
			if len(c.verdicts) != 3 || c.new > 3 || len(c.over) > 3 || !slices.IsSorted(c.over) || len(c.over) > 0 && c.over[len(c.over)-1] > 2 {
				t.Errorf("%+v", c)
			}
		}
	})
}
