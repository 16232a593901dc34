package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
	"pingline/client"
	"pingline/sim/audit"
)

func newLoad(t *testing.T, cfg LoadConfig) *Load {
	t.Helper()
	cfg.URL = "http://ingester"
	if cfg.Phones == nil {
		cfg.Phones = newCity(t, CityConfig{Riders: 500})
	}
	l, err := NewLoad(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newTestSender(t testing.TB, l *Load) *sender {
	t.Helper()
	start := time.UnixMilli(monday)
	l.journal.Store(newJournal(start))
	s, err := newSender(l, 0, start)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, l *Load) Counters {
	t.Helper()
	if err := l.Run(t.Context()); err != nil {
		t.Fatalf("Run: %v", err)
	}
	c := l.Counters()
	if sum := c.Accepted + c.Held + c.Redundant + c.Duplicate + c.Shed + c.Rejected + c.Unanswered + c.Forgotten; sum != c.Sent {
		t.Errorf("%d pings sent, %d accounted for: %+v", c.Sent, sum, c)
	}
	return c
}

func TestLoadDeliversEveryPingThroughFaults(t *testing.T) {
	for _, format := range []Format{JSON, NDJSON, Gzip, Zstd} {
		t.Run(string(format), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 2))
				in, transport := serve(t, func(_ int, pings []wirePing) mishap {
					switch n := rng.IntN(10); {
					case len(pings) > 40:
						return mishap{status: http.StatusRequestEntityTooLarge}
					case n == 0:
						return mishap{status: http.StatusServiceUnavailable, retryAfter: "2"}
					case n == 1:
						return mishap{status: http.StatusTooManyRequests}
					case n == 2:
						return mishap{lose: true}
					case n == 3:
						return mishap{delay: 20 * time.Second} // longer than a client waits
					case n == 4:
						return mishap{status: http.StatusBadGateway, retryAfter: "soon"}
					}
					return mishap{}
				})
				ledger := audit.NewLedger()
				l := newLoad(t, LoadConfig{
					Rate: 200, Batch: 64, Connections: 4, For: 2 * time.Minute, Grace: time.Hour,
					Format: format, Ledger: ledger, Transport: transport,
				})
				c := run(t, l)
				if c.Sent < 3000 || c.Unanswered+c.Forgotten > 0 {
					t.Errorf("counted %+v", c)
				}
				if len(in.taken) != int(c.Sent) || ledger.Len() != int(c.Sent) {
					t.Errorf("%d pings sent, %d taken, %d in the ledger", c.Sent, len(in.taken), ledger.Len())
				}
				if c.Duplicate == 0 || c.Accepted+c.Duplicate != c.Sent {
					t.Errorf("%d accepted and %d duplicate of %d", c.Accepted, c.Duplicate, c.Sent)
				}
				for _, status := range []int{0, 413, 429, 502, 503} {
					if c.Refused[status] == 0 {
						t.Errorf("no request was refused with %d: %v", status, c.Refused)
					}
				}
				if int(c.Requests) != len(in.times) {
					t.Errorf("%d requests counted, %d came", c.Requests, len(in.times))
				}
			})
		})
	}
}

func TestLoadHonoursRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header      string // with "from now" a duration, of which the date is sent
		least, most time.Duration
	}{
		{"7", 7 * time.Second, 10500 * time.Millisecond},
		{"0", 25 * time.Millisecond, 125 * time.Millisecond},
		{"-24h from now", 25 * time.Millisecond, 125 * time.Millisecond},
		{"86400", time.Minute, 90 * time.Second},
		{"30s from now", 20 * time.Second, 45 * time.Second},
		{"", 25 * time.Millisecond, 125 * time.Millisecond},
		{"-1", 25 * time.Millisecond, 125 * time.Millisecond},
	} {
		t.Run(tt.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				header := tt.header
				if text, ok := strings.CutSuffix(header, " from now"); ok {
					d, err := time.ParseDuration(text)
					if err != nil {
						t.Fatal(err)
					}
					header = time.Now().Add(d).UTC().Format(http.TimeFormat)
				}
				in, transport := serve(t, func(n int, _ []wirePing) mishap {
					if n == 0 {
						return mishap{status: http.StatusServiceUnavailable, retryAfter: header}
					}
					return mishap{}
				})
				c := run(t, newLoad(t, LoadConfig{
					Rate: 100, Connections: 1, For: 3 * time.Second, Grace: time.Hour, Transport: transport,
				}))
				if waited := in.times[1].Sub(in.times[0]); waited < tt.least || waited > tt.most {
					t.Errorf("sent again after %v, not %v to %v", waited, tt.least, tt.most)
				}
				if in.sizes[0] != in.sizes[1] || c.Retries != 1 || c.Refused[503] != 1 {
					t.Errorf("requests of %v pings; %+v", in.sizes[:2], c)
				}
			})
		})
	}
}

func TestLoadWaitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, transport := serve(t, func(n int, _ []wirePing) mishap {
			if n < 20 {
				return mishap{status: http.StatusInternalServerError}
			}
			return mishap{}
		})
		run(t, newLoad(t, LoadConfig{Rate: 100, Connections: 1, For: time.Second, Grace: time.Hour, Transport: transport}))
		if first, last := in.times[1].Sub(in.times[0]), in.times[20].Sub(in.times[19]); last < time.Second || last > 7*time.Second || first > time.Second {
			t.Errorf("first waited %v, after 20 refusals %v", first, last)
		}
	})
}

func TestLoadHalvesWhatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, transport := serve(t, func(_ int, pings []wirePing) mishap {
			if len(pings) > 10 || slices.ContainsFunc(pings, func(p wirePing) bool { return p.Rider == "r-000004" }) {
				return mishap{status: http.StatusRequestEntityTooLarge}
			}
			return mishap{}
		})
		c := run(t, newLoad(t, LoadConfig{Rate: 100, Connections: 1, For: 10 * time.Second, Transport: transport}))
		own := len(in.order["r-000004 "])
		if own != 0 || c.Forgotten == 0 || int(c.Accepted) != len(in.taken) {
			t.Errorf("%d of the ping that is too large were taken, %+v", own, c)
		}
		if c.Forgotten > 10 {
			t.Errorf("%d pings forgotten, for one rider of 500 in 10 s", c.Forgotten)
		}
		for _, n := range in.sizes[len(in.sizes)/2:] {
			if n > 10 {
				t.Errorf("a request of %d pings after many were refused", n)
			}
		}
	})
}

// Of a request that is answered in part, only pings without a verdict are sent again.
func TestLoadSendsAgainWhatHasNoVerdict(t *testing.T) {
	for _, list := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			odd := func(p wirePing) bool { return p.Rider[len(p.Rider)-1]%2 == 1 }
			in, transport := serve(t, func(n int, _ []wirePing) mishap {
				if n%3 < 2 { // and the second time there may be none with a verdict
					return mishap{away: odd}
				}
				return mishap{}
			})
			cfg := LoadConfig{Rate: 100, Batch: 20, Connections: 1, For: 10 * time.Second, Grace: time.Hour, Transport: transport}
			ledger := audit.NewLedger()
			if list {
				cfg.Ledger = ledger
			}
			c := run(t, newLoad(t, cfg))
			if c.Accepted != c.Sent || c.Sent < 500 || int(c.Sent) != len(in.taken) || c.Retries == 0 || c.Refused[207] != c.Retries {
				t.Errorf("%d were taken, %+v", len(in.taken), c)
			}
			if list && ledger.Len() != int(c.Sent) {
				t.Errorf("%d in the ledger, %+v", ledger.Len(), c)
			}
			if in.sizes[1] >= in.sizes[0] || in.sizes[1] != in.sizes[2] {
				t.Errorf("requests of %v pings", in.sizes[:3])
			}
		})
	}
}

func TestLoadStopsResendingWhatIsABug(t *testing.T) {
	for _, tt := range []struct {
		status              int
		rejected, forgotten bool
	}{
		{http.StatusBadRequest, true, false},
		{http.StatusUnsupportedMediaType, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			in, transport := serve(t, func(int, []wirePing) mishap { return mishap{status: tt.status} })
			ledger := audit.NewLedger()
			c := run(t, newLoad(t, LoadConfig{Rate: 100, For: 5 * time.Second, Ledger: ledger, Transport: transport}))
			if c.Retries != 0 || c.Rejected == c.Sent != tt.rejected || c.Forgotten == c.Sent != tt.forgotten {
				t.Errorf("status %d: %+v", tt.status, c)
			}
			if len(in.taken) != 0 || c.Refused[tt.status] != c.Requests || ledger.Len() != int(c.Sent) {
				t.Errorf("status %d: %d taken, %d in the ledger, %+v", tt.status, len(in.taken), ledger.Len(), c)
			}
		})
	}
}

func TestLoadFailsAtWhatSendingAgainCannotMend(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		synctest.Test(t, func(t *testing.T) {
			_, transport := serve(t, func(int, []wirePing) mishap { return mishap{status: status} })
			err := newLoad(t, LoadConfig{Rate: 100, Transport: transport}).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint("answered ", status)) {
				t.Errorf("Run after answers of %d: %v", status, err)
			}
		})
	}
}

func TestLoadFailsAtAnAnswerThatDoesNotAddUp(t *testing.T) {
	for _, body := range []string{
		`it works!`,
		`{"accepted":1}`,
		`{"accepted":3,"verdicts":["accepted","accepted"]}`,
		`{"accepted":3,"verdicts":["accepted","accepted","accepted","accepted"]}`,
		`{"accepted":2,"held":1,"verdicts":["accepted","accepted","accepted"]}`,
		`{"accepted":3,"verdicts":["accepted","accepted","none"]}`,
		`{"accepted":3,"verdicts":["accepted","accepted","stored"]}`,
		`{"accepted":3,"verdicts":7}`,
		`{"accepted":3}`,
		`{"accepted":2,"unavailable":1,"verdicts":["accepted","unavailable","accepted"],"retry":[1]}`,
	} {
		ledger := audit.NewLedger()
		l := newLoad(t, LoadConfig{Ledger: ledger})
		s := newTestSender(t, l)
		err := s.settle(make([]pingline.Ping, 3), client.Response{Status: 200, Body: []byte(body)}, 0)
		if err == nil {
			t.Errorf("%s was taken for an answer for three pings", body)
		}
		if l.Counters().Accepted != 0 || ledger.Len() != 0 {
			t.Errorf("%s was counted", body)
		}
	}
}

func TestPingsOfABrokenAnswerStayUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, transport := serve(t, func(n int, pings []wirePing) mishap {
			switch {
			case len(pings) > 10:
				return mishap{status: http.StatusRequestEntityTooLarge}
			case n > 20:
				return mishap{status: http.StatusNoContent}
			}
			return mishap{status: http.StatusOK} // without verdicts
		})
		ledger := audit.NewLedger()
		l := newLoad(t, LoadConfig{Rate: 1000, Ledger: ledger, Transport: transport})
		if err := l.Run(t.Context()); err == nil {
			t.Error("Run of a load whose answers do not add up: nil")
		}
		if c := l.Counters(); c.Unanswered != c.Sent || ledger.Len() != int(c.Sent) {
			t.Errorf("%+v, %d in the ledger", c, ledger.Len())
		}
	})
}

func TestLoadEndsWithinItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		in, transport := serve(t, func(int, []wirePing) mishap {
			if down {
				return mishap{status: http.StatusServiceUnavailable, retryAfter: "1"}
			}
			return mishap{}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ledger := audit.NewLedger()
		l := newLoad(t, LoadConfig{Rate: 1000, Grace: 10 * time.Second, Ledger: ledger, Transport: transport})
		ended := make(chan error)
		go func() { ended <- l.Run(ctx) }()
		time.Sleep(5 * time.Second)
		cancel()
		at := time.Now()
		if err := <-ended; err != nil {
			t.Fatalf("Run: %v", err)
		}
		c := l.Counters()
		if d := time.Since(at); d != 10*time.Second {
			t.Errorf("ended %v after it was told to", d)
		}
		if c.Sent == 0 || c.Unanswered != c.Sent || ledger.Len() != int(c.Sent) || ledger.Count(0) != c.Sent {
			t.Errorf("after an ingester that was never up: %+v, %d in the ledger", c, ledger.Len())
		}

		// The same, but up again 3 s later: what is under way is answered.
		ctx, cancel = context.WithCancel(t.Context())
		l = newLoad(t, LoadConfig{Rate: 1000, Grace: 10 * time.Second, Transport: transport})
		go func() { ended <- l.Run(ctx) }()
		time.Sleep(5 * time.Second)
		cancel()
		at = time.Now()
		time.Sleep(3 * time.Second)
		in.mu.Lock()
		down = false
		in.mu.Unlock()
		if err := <-ended; err != nil {
			t.Fatalf("Run: %v", err)
		}
		if c := l.Counters(); c.Sent == 0 || c.Accepted != c.Sent || time.Since(at) > 5*time.Second {
			t.Errorf("%v after it was told to end: %+v", time.Since(at), c)
		}
	})
}

func TestLoadKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, transport := serve(t, nil)
		c := run(t, newLoad(t, LoadConfig{Rate: 1000, Connections: 4, For: 20 * time.Second, Transport: transport}))
		if c.Sent < 1000*19 || c.Sent > 1000*20 || c.Skipped != 0 {
			t.Errorf("%d pings sent in 20 s, %d skipped", c.Sent, c.Skipped)
		}
		// 500 riders at 1,000/s would send twice a second: others joined.
		if c.Riders < 4750 || c.Riders > 5250 {
			t.Errorf("%d riders send a ping every 5 s", c.Riders)
		}
		for track, at := range in.order {
			for i := 1; i < len(at); i++ {
				if at[i]-at[i-1] < 4750 {
					t.Fatalf("%s sent two pings %d ms apart", track, at[i]-at[i-1])
				}
			}
		}
	})
}

func TestSlowLoadSendsSmallBatchesOfAllRiders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, transport := serve(t, func(_ int, pings []wirePing) mishap {
			if age := time.Now().UnixMilli() - pings[0].At; age > 1100 {
				t.Errorf("a ping waited %d ms for its batch", age)
			}
			return mishap{}
		})
		c := run(t, newLoad(t, LoadConfig{
			Phones: newCity(t, CityConfig{Riders: 100}),
			Rate:   10, Connections: 2, For: time.Minute, Transport: transport,
		}))
		if c.Sent < 580 || c.Sent > 600 || c.Riders != 100 || len(in.order) != 100 {
			t.Errorf("%d pings of %d riders, %d tracks came", c.Sent, c.Riders, len(in.order))
		}
	})
}

func TestFastLoadWaitsForItsRiders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, transport := serve(t, func(int, []wirePing) mishap { return mishap{delay: time.Millisecond} })
		c := run(t, newLoad(t, LoadConfig{
			Phones: newCity(t, CityConfig{Riders: 10}),
			Batch:  20, Connections: 2, MaxRiders: 1000, For: 21 * time.Second, Transport: transport,
		}))
		if c.Riders != 1000 || len(in.order) != 1000 {
			t.Errorf("%d riders, %d tracks came", c.Riders, len(in.order))
		}
		if c.Sent < 4000 || c.Sent > 6000 {
			t.Errorf("%d pings of 1,000 riders in 21 s", c.Sent)
		}
	})
}

func TestLoadOfTooFewRidersSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, transport := serve(t, nil)
		c := run(t, newLoad(t, LoadConfig{
			Phones: newCity(t, CityConfig{Riders: 100}),
			Rate:   1000, Connections: 2, MaxRiders: 100, For: 21 * time.Second, Transport: transport,
		}))
		if c.Riders != 100 || c.Sent < 400 || c.Sent > 500 || c.Skipped < 19_000 || len(in.order) != 100 {
			t.Errorf("100 riders at 1,000 pings/s: %+v", c)
		}
	})
}

func TestLoadCatchesUpWithWhatItOwes(t *testing.T) {
	for _, tt := range []struct {
		down     time.Duration
		skips    bool
		rateOwed uint64
	}{
		{30 * time.Second, false, 100 * 60},
		{3 * time.Minute, true, 100 * 210},
	} {
		t.Run(tt.down.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				in, transport := serve(t, func(int, []wirePing) mishap {
					if time.Since(start) < tt.down {
						return mishap{status: http.StatusServiceUnavailable, retryAfter: "1"}
					}
					return mishap{}
				})
				c := run(t, newLoad(t, LoadConfig{
					Rate: 100, Connections: 3, For: tt.down + 30*time.Second, Grace: time.Hour, Transport: transport,
				}))
				if owed := c.Sent + c.Skipped; c.Skipped > 0 != tt.skips || owed > tt.rateOwed || owed < tt.rateOwed-400 {
					t.Errorf("%d pings sent and %d skipped, of %d", c.Sent, c.Skipped, tt.rateOwed)
				}
				if len(in.taken) != int(c.Sent) {
					t.Errorf("%d pings sent, %d taken", c.Sent, len(in.taken))
				}
			})
		})
	}
}

func TestNewLoadRefuses(t *testing.T) {
	city := newCity(t, CityConfig{})
	for name, cfg := range map[string]LoadConfig{
		"no city":          {URL: "http://localhost:1"},
		"no URL":           {Phones: city},
		"another protocol": {Phones: city, URL: "ftp://localhost"},
		"no host":          {Phones: city, URL: "http://"},
		"a broken URL":     {Phones: city, URL: "http://[::1"},
		"a huge batch":     {Phones: city, URL: "http://localhost", Batch: 20_001},
		"a negative batch": {Phones: city, URL: "http://localhost", Batch: -1},
		"a negative rate":  {Phones: city, URL: "http://localhost", Rate: -1},
		"no such format":   {Phones: city, URL: "http://localhost", Format: "xml"},
		"a negative grace": {Phones: city, URL: "http://localhost", Grace: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewLoad(cfg); err == nil {
				t.Error("NewLoad returned a load")
			}
		})
	}
}
