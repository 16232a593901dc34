package phonetest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"pingline/ingest/phone"
)

const (
	// Sizes, in bytes, at which the costs of a request are compared.
	small, large = 4 << 10, 64 << 10

	// Bound may return so many bytes for each byte of a request, besides requestBytes.
	boundBytes = 16
)

// held decodes r into new memory, and checks that this takes no more than Bound says. It
// returns the number of bytes and of allocations.
func held(t testing.TB, p *phone.Protocol, r *phone.Request, what string) (size, count int64) {
	t.Helper()
	var pings phone.Pings
	most, more := p.Most(r)
	size, count = allocated(func() { _ = p.Read(r, &pings) })
	most = max(min(most, r.Limits.MaxPings), pings.Received)
	limit := int64(most)*pingBytes + int64(more) + requestBytes + int64(phone.MaxRejections*pingBytes)
	if size > limit {
		t.Errorf("%s takes %d bytes, Bound allows %d", what, size, limit)
	}
	return size, count
}

// allocated returns the number of bytes and of allocations of f.
func allocated(f func()) (size, count int64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), int64(after.Mallocs - before.Mallocs)
}

// checkBound checks that Bound asks for no more than a request can be worth.
func checkBound(t testing.TB, p *phone.Protocol, r *phone.Request) {
	t.Helper()
	pings, more := p.Most(r)
	if n := size(r); pings < 0 || more < 0 || pings > n+1 || more > boundBytes*n+requestBytes {
		t.Errorf("Bound says %d pings and %d bytes of a request of %d bytes", pings, more, n)
	}
}

// growth repeats a request in several ways and decodes the results: the cost must grow no
// faster than the size.
func growth(t testing.TB, p *phone.Protocol, c *testCase) {
	times := func(text string, size int) string { return strings.Repeat(text, size/max(len(text), 1)+1) }
	body, inner := string(c.in.Body), strings.Trim(string(c.in.Body), "[]{} \n")
	for name, grow := range map[string]func(r *phone.Request, size int){
		"the body":              func(r *phone.Request, size int) { r.Body = []byte(times(body, size)) },
		"the body on lines":     func(r *phone.Request, size int) { r.Body = []byte(times(body+"\n", size)) },
		"the body in an array":  func(r *phone.Request, size int) { r.Body = []byte("[" + times(body+",", size) + "0]") },
		"the pings in an array": func(r *phone.Request, size int) { r.Body = []byte("[" + times("{"+inner+"},", size) + "0]") },
		"the fields":            func(r *phone.Request, size int) { r.Body = []byte("{" + times(inner+",", size) + `"z":0}`) },
		"the form":              func(r *phone.Request, size int) { r.Body = []byte(times(body+"&", size)) },
		"each line": func(r *phone.Request, size int) {
			var b bytes.Buffer
			for line := range strings.Lines(body) {
				b.WriteString(times(line, size/(strings.Count(body, "\n")+1)))
			}
			r.Body = b.Bytes()
		},
		"the query": func(r *phone.Request, size int) { r.Query = times(r.Query+"&", min(size, 8<<10)) },
		"the path":  func(r *phone.Request, size int) { r.Path = times(r.Path, min(size, 8<<10)) },
	} {
		cost := func(size int) (bytes, count int64) {
			r := c.in
			grow(&r, size)
			checkBound(t, p, &r)
			return held(t, p, &r, name+", repeated")
		}
		// append doubles a slice of up to 256 elements, which takes twice its size in all, and
		// lets a longer one grow by a quarter, which takes five times its size. The number of
		// allocations grows with the elements alone, and half as much again.
		const most, mostBytes = large / small * 3 / 2, large / small * 5 / 2
		size, count := cost(small)
		size16, count16 := cost(large)
		if size16 > mostBytes*size+requestBytes || count16 > most*count+requestAllocs {
			t.Errorf("%s, repeated to %d bytes, takes %d bytes in %d allocations, to %d bytes %d in %d",
				name, small, size, count, large, size16, count16)
		}
	}
}

// later decodes c as if it came at a later time. The pings must be the same, but times
// sent as an age are as much later.
func later(t testing.TB, p *phone.Protocol, c *testCase) {
	const shift = 90 * time.Minute
	var one, two phone.Pings
	r := c.in
	r.Limits.Times.MaxAge, r.Limits.Times.MaxAhead = 1e6*time.Hour, 1e6*time.Hour
	err := decode(t, p, &r, &one)
	r.Now = r.Now.Add(shift)
	if lerr := decode(t, p, &r, &two); (lerr == nil) != (err == nil) || len(one.List) != len(two.List) || one.Received != two.Received {
		t.Errorf("%d of %d pings, error %v, when it comes %v later, was %d of %d, %v", len(two.List), two.Received, lerr, shift, len(one.List), one.Received, err)
		return
	}
	for i := range one.List {
		a, b := one.List[i], two.List[i]
		if b.At-a.At == shift.Milliseconds() {
			b.At = a.At
		}
		if a != b {
			t.Errorf("ping %d is %+v when it comes %v later, was %+v", i, b, shift, a)
		}
	}
}

// leftBehind checks that no goroutine outlives Decode and Reply.
func leftBehind(t testing.TB, p *phone.Protocol, c *testCase) {
	var pings phone.Pings
	before := runtime.NumGoroutine()
	for range 20 {
		r := c.in
		err := decode(t, p, &r, &pings)
		reply(t, p, &r, &pings, err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Errorf("%d goroutines, %d before 20 requests", runtime.NumGoroutine(), before)
			return
		}
	}
}
