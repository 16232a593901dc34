package sim

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pingline/sim/apps"
	"pingline/sim/audit"
	"pingline/sim/fault"
)

// roundTrip is a server at the edge.
type roundTrip func(r *http.Request) (status int)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	status := f(r)
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"result":"ok"}`))}, nil
}

// appLoad runs a load of a city with an app for five minutes of a clock that nobody waits for.
func appLoad(t *testing.T, name string, server roundTrip, set func(*LoadConfig)) (c Counters) {
	t.Helper()
	app, err := apps.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		city, err := NewCity(CityConfig{Seed: 1, Riders: 20, Interval: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		cfg := LoadConfig{URL: "http://x/", Phones: city, Rate: 4, Connections: 3, App: app, For: 5 * time.Minute, Grace: 10 * time.Minute, Transport: server}
		if set != nil {
			set(&cfg)
		}
		load, err := NewLoad(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := load.Run(t.Context()); err != nil {
			t.Error(err)
		}
		c = load.Counters()
	})
	if c.Sent != c.Answered()+c.Unanswered+c.Forgotten {
		t.Errorf("%s: %+v do not add up", name, c)
	}
	return c
}

// Phones of each app deliver all in spite of an outage of two minutes, and those that give up
// say so.
func TestAppLoad(t *testing.T) {
	for _, app := range apps.Keepers() {
		var began time.Time
		requests := 0
		c := appLoad(t, app.Name, func(r *http.Request) int {
			if r.Header.Get("X-Key") != "k" || !strings.HasPrefix(r.URL.Path, app.Path) {
				t.Errorf("%s %v", r.URL, r.Header)
			}
			if began.IsZero() {
				began = time.Now()
			}
			requests++
			if at := time.Since(began); at > time.Minute && at < 3*time.Minute {
				return []int{0, 401, 503}[requests%3]
			}
			return http.StatusOK
		}, func(cfg *LoadConfig) {
			cfg.Header, cfg.Connections = []HeaderField{{"X-Key", "k"}}, 1
		})
		if c.Sent < 1100 || c.Delivered+c.Forgotten != c.Sent || c.Forgotten > 0 || c.Retries == 0 || c.Skipped != 0 {
			t.Errorf("%s: %+v", app.Name, c)
		}
		if app.Batch == 1 && c.Requests < c.Sent || app.Every > 0 && c.Requests > c.Sent/3 {
			t.Errorf("%s: %d requests with %d fixes", app.Name, c.Requests, c.Sent)
		}
	}
}

// GPSLogger gives up a fix at its fourth attempt, when the server is away for ten minutes.
func TestAppLoadGivesUp(t *testing.T) {
	c := appLoad(t, "gpslogger", func(*http.Request) int { return 503 }, nil)
	if c.Sent < 1100 || c.Forgotten != c.Sent || c.Requests != 4*c.Sent || c.Retries != 3*c.Sent {
		t.Errorf("%+v", c)
	}
}

// What is not delivered when the load ends is told: with and without an attempt.
func TestAppLoadEnds(t *testing.T) {
	c := appLoad(t, "traccar", func(*http.Request) int { return 503 }, func(cfg *LoadConfig) { cfg.Grace = time.Second })
	if c.Unanswered == 0 || c.Unanswered != c.Sent || c.Skipped < 1000 || c.Delivered != 0 {
		t.Errorf("%+v", c)
	}
	var n atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		city, err := NewCity(CityConfig{Seed: 1, Riders: 20, Interval: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		app, err := apps.Named("owntracks")
		if err != nil {
			t.Fatal(err)
		}
		load, err := NewLoad(LoadConfig{URL: "http://x", Phones: city, Rate: 4, App: app, Transport: roundTrip(func(*http.Request) int { n.Add(1); return 200 })})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := load.Run(ctx); err != nil {
			t.Error(err)
		}
		if c := load.Counters(); c.Sent < 200 || c.Delivered != c.Sent || uint64(n.Load()) != c.Sent {
			t.Errorf("stopped after a minute: %+v", c)
		}
	})
}

func TestAppLoadRefuses(t *testing.T) {
	app, err := apps.Named("overland")
	if err != nil {
		t.Fatal(err)
	}
	city, err := NewCity(CityConfig{Riders: 1})
	if err != nil {
		t.Fatal(err)
	}
	var faults fault.Spec
	faults[fault.Resend] = 0.1
	for _, cfg := range []LoadConfig{{Ledger: audit.NewLedger()}, {Faults: faults}} {
		cfg.URL, cfg.Phones, cfg.App = "http://x", city, app
		if _, err := NewLoad(cfg); err == nil || !strings.Contains(err.Error(), "the app overland tells no verdicts") {
			t.Error(err)
		}
	}
}
