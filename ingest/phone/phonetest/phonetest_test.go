package phonetest

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/phone"
)

// plain is a protocol with a ping on each line: "rider lat lon". Its time is that of
// the request.
func plain() phone.Protocol {
	return phone.Protocol{
		Name:   "plain",
		Routes: []string{"POST /v1/plain"},
		Bound: func(r *phone.Request) (pings, bytes int) {
			return strings.Count(string(r.Body), "\n") + 1, 10 * len(r.Body) // of fmt.Sscan
		},
		Decode: func(r *phone.Request, to *phone.Pings) error {
			for line := range bytes.Lines(r.Body) {
				var d phone.Draft
				var rider string
				var lat, lon float64
				if n, _ := fmt.Sscan(string(line), &rider, &lat, &lon); n == 0 {
					continue
				}
				d.SetTime(r.Now.UnixMilli())
				d.SetName(phone.Rider, rider)
				d.SetNumber(phone.Lat, lat)
				d.SetNumber(phone.Lon, lon)
				if err := to.Add(&d); err != nil {
					return err
				}
			}
			return nil
		},
		Reply: func(to *phone.Reply, _ *phone.Request, got *phone.Outcome) {
			if got.Err != nil {
				to.Refuse(got.Err)
				return
			}
			to.ContentType = "text/plain"
			to.Body = fmt.Appendf(to.Body, "%v", got.Counts())
		},
	}
}

func plainCase() testCase {
	return testCase{"case", phone.Request{
		Method: "POST", Path: "/v1/plain", Header: http.Header{}, Now: Now, Limits: limits(),
		Body: []byte("r-1 41.1 -8.6\nr-2 -33.8 151.2\nr-3 -22.9 -43.2\nr-4 35.6 139.7\n"),
	}}
}

// told is a test that is told of failures and does not fail.
type told struct {
	testing.TB
	errs []string
}

func (t *told) Helper()           {}
func (t *told) Error(args ...any) { t.errs = append(t.errs, fmt.Sprint(args...)) }
func (t *told) Errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Sprintf(format, args...))
}

// Each fault of a protocol is found by the check that is there for it, and a
// protocol without a fault passes.
func TestFaultsAreFound(t *testing.T) {
	kept := make(map[int][]byte)
	stop := make(chan struct{})
	defer close(stop)
	replying := func(wrong func(to *phone.Reply, r *phone.Request, got *phone.Outcome)) func(*phone.Protocol) {
		return func(p *phone.Protocol) {
			right := p.Reply
			p.Reply = func(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
				right(to, r, got)
				wrong(to, r, got)
			}
		}
	}
	decoding := func(wrong func(r *phone.Request, to *phone.Pings)) func(*phone.Protocol) {
		return func(p *phone.Protocol) {
			right := p.Decode
			p.Decode = func(r *phone.Request, to *phone.Pings) error {
				wrong(r, to)
				return right(r, to)
			}
		}
	}
	for _, tt := range []struct {
		name, check string
		fault       func(p *phone.Protocol)
		want        string
	}{
		{"none", "", func(*phone.Protocol) {}, ""},
		{"a refused request is answered 200", "refused", replying(func(to *phone.Reply, _ *phone.Request, _ *phone.Outcome) { to.Status = 200 }), "refused for good"},
		{"phones that repeat are answered 400", "refused", func(p *phone.Protocol) { p.Repeats = true }, "repeat until 2xx: true"},
		{"a refused request is to be sent again", "refused", replying(func(to *phone.Reply, _ *phone.Request, _ *phone.Outcome) { to.Status = 503 }), "status 503"},
		{"shed pings are answered 4xx", "outcomes", replying(func(to *phone.Reply, _ *phone.Request, got *phone.Outcome) {
			if got.Counts()[pingline.Shed] > 0 {
				to.Status = 422
			}
		}), "all of them are final"},
		{"a verdict that panics", "outcomes", replying(func(_ *phone.Reply, _ *phone.Request, got *phone.Outcome) {
			if got.Counts()[pingline.Held] > 0 {
				panic("held")
			}
		}), "panics when pings are held"},
		{"an outcome that is changed", "outcomes", replying(func(_ *phone.Reply, _ *phone.Request, got *phone.Outcome) { clear(got.Judged) }), "changed the outcome"},
		{"rejections that are changed", "outcomes", replying(func(_ *phone.Reply, _ *phone.Request, got *phone.Outcome) { got.Pings.Received++ }), "changed the outcome"},
		{"a reply without end", "outcomes", replying(func(to *phone.Reply, _ *phone.Request, _ *phone.Outcome) {
			to.Body = append(to.Body, make([]byte, 1<<16)...)
		}), "at most"},
		{"a reply that differs", "outcomes", replying(func(to *phone.Reply, _ *phone.Request, _ *phone.Outcome) {
			kept[len(kept)] = nil
			to.Body = fmt.Append(to.Body, len(kept))
		}), "the next time"},
		{"copies that grow with the square", "growth", decoding(func(r *phone.Request, _ *phone.Pings) {
			for i := 0; i < len(r.Body); i += 64 {
				kept[0] = bytes.Clone(r.Body[:i])
			}
		}), "Bound allows"},
		{"a Bound without end", "growth", func(p *phone.Protocol) {
			p.Bound = func(*phone.Request) (int, int) { return 1 << 20, 1 << 40 }
		}, "Bound says"},
		{"allocations that grow with the square", "growth", decoding(func(r *phone.Request, _ *phone.Pings) {
			for range len(r.Body) * len(r.Body) >> 16 {
				kept[0] = make([]byte, 1)
			}
		}), "allocations"},
		{"the clock in place of Now", "later", func(p *phone.Protocol) {
			right, began := p.Decode, Now
			p.Decode = func(r *phone.Request, to *phone.Pings) error {
				began = began.Add(time.Second)
				mine := *r
				mine.Now = began
				return right(&mine, to)
			}
		}, "when it comes"},
		{"a goroutine that is left behind", "goroutines", decoding(func(*phone.Request, *phone.Pings) { go func() { <-stop }() }), "goroutines"},
		{"a request by no route", "route", func(p *phone.Protocol) { p.Routes = []string{"POST /v1/other"} }, "none of the routes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, c := plain(), plainCase()
			tt.fault(&p)
			for name, hold := range holds {
				if name == "golden" || tt.check != "" && name != tt.check {
					continue
				}
				to := &told{TB: t}
				hold(to, &p, &c)
				if all := strings.Join(to.errs, "\n"); (all == "") != (tt.want == "") || !strings.Contains(all, tt.want) {
					t.Errorf("%s tells %q, want %q", name, all, tt.want)
				}
			}
			runtime.KeepAlive(kept)
		})
	}
}

func TestSignsThatAreLost(t *testing.T) {
	p, c := plain(), plainCase()
	to := &told{TB: t}
	if signs(to, &p, []testCase{c}); len(to.errs) > 0 {
		t.Errorf("told of %q", to.errs)
	}
	c.in.Body = bytes.ReplaceAll(c.in.Body, []byte("-"), nil)
	if signs(to, &p, []testCase{c}); len(to.errs) != 1 {
		t.Errorf("told of %q, want one error", to.errs)
	}
}
