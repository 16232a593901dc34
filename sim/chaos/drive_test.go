package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// site is an installation that does as it is told, and writes it down.
type site struct {
	calls  []string
	refuse func(verb string, f Failure) error
	ready  func() error
	said   []string
	start  time.Time
}

func (s *site) Begin(_ context.Context, f Failure) error { return s.call("begin", f) }

func (s *site) End(_ context.Context, f Failure) error { return s.call("end", f) }

func (s *site) call(verb string, f Failure) error {
	s.calls = append(s.calls, fmt.Sprintf("%v %s %v", time.Since(s.start), verb, f))
	if s.refuse != nil {
		return s.refuse(verb, f)
	}
	return nil
}

func (s *site) run(ctx context.Context, lasts time.Duration, steps ...FailureStep) ([]StepResult, error) {
	s.start = time.Now()
	c := Config{
		Steps: steps, Lasts: lasts, Injector: s, Limit: time.Minute, Recovery: 10 * time.Second,
		Ready: func(context.Context) error {
			if s.ready != nil {
				return s.ready()
			}
			return nil
		},
		Say: func(line string) { s.said = append(s.said, line) },
	}
	return c.Run(ctx)
}

func (s *site) called(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.calls, want) {
		t.Errorf("the injector was called %q, want %q", s.calls, want)
	}
}

var twoSteps = []FailureStep{{10 * time.Second, Kill, 5 * time.Second}, {20 * time.Second, Freeze, time.Second}}

func TestRunKeepsToTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s site
		list, err := s.run(t.Context(), time.Minute, twoSteps...)
		if err != nil || len(list) != 2 || time.Since(s.start) != time.Minute {
			t.Errorf("%+v, %v after %v", list, err, time.Since(s.start))
		}
		s.called(t, "10s begin kill", "15s end kill", "20s begin freeze", "21s end freeze")
		for _, o := range list {
			if o.Ended.Sub(o.Began) != o.Lasts || !o.Ready.Equal(o.Ended) || o.Skipped != "" {
				t.Errorf("%+v", o)
			}
		}
	})
}

// The next failure waits until the ingester takes pings again, and one that is late
// after the end is left out.
func TestRunWaitsForRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s site
		s.ready = func() error {
			if time.Since(s.start) < 22*time.Second {
				return errors.New("503")
			}
			return nil
		}
		list, err := s.run(t.Context(), 21*time.Second, twoSteps...)
		if err != nil || len(list) != 2 || list[0].Ready.Sub(list[0].Ended) != 7*time.Second || list[1].Skipped != NoTime || !list[1].Began.IsZero() {
			t.Errorf("%+v, %v", list, err)
		}
		s.called(t, "10s begin kill", "15s end kill")
	})
}

// A failure that is not available is said once, and not asked for again.
func TestRunSkipsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site{refuse: func(_ string, f Failure) error {
			if f == Kill {
				return fmt.Errorf("%w: no", ErrUnavailable)
			}
			return nil
		}}
		again := append(slices.Clone(twoSteps), FailureStep{30 * time.Second, Kill, time.Second})
		list, err := s.run(t.Context(), time.Minute, again...)
		if err != nil || len(list) != 3 || list[0].Skipped != "not available: no" || list[2].Skipped != list[0].Skipped || !list[0].Began.IsZero() {
			t.Errorf("%+v, %v", list, err)
		}
		s.called(t, "10s begin kill", "20s begin freeze", "21s end freeze")
		if n := strings.Count(strings.Join(s.said, "\n"), "skipped"); n != 1 {
			t.Errorf("it was said %d times: %q", n, s.said)
		}
	})
}

// Told to stop, a run ends the failure at once and waits for the ingester.
func TestRunEndsAFailureWhenItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 12*time.Second)
		defer stop()
		var s site
		s.ready = func() error {
			if time.Since(s.start) < 14*time.Second {
				return errors.New("503")
			}
			return nil
		}
		list, err := s.run(ctx, time.Minute, twoSteps...)
		if err != nil || len(list) != 1 || time.Since(s.start) != 14*time.Second {
			t.Errorf("%+v, %v after %v", list, err, time.Since(s.start))
		}
		s.called(t, "10s begin kill", "12s end kill")
	})
}

// Nothing follows a failure that could not be ended, may not have begun in order, or was
// not recovered from.
func TestRunStopsWhereAFailureStays(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		site site
		want string
	}{
		{"the end fails", site{refuse: func(verb string, _ Failure) error {
			if verb == "end" {
				return broken
			}
			return nil
		}}, "kill: broken"},
		{"the begin fails", site{refuse: func(verb string, _ Failure) error {
			if verb == "begin" {
				return broken
			}
			return nil
		}}, "kill: broken"},
		{"the ingester stays away", site{ready: func() error { return broken }}, "kill: 10s after its end the ingester does not take pings: broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list, err := tt.site.run(t.Context(), time.Minute, twoSteps...)
				if err == nil || err.Error() != tt.want || !errors.Is(err, broken) || len(list) != 1 {
					t.Errorf("%+v, %v, want %s", list, err, tt.want)
				}
				if n := len(tt.site.calls); n != 2 {
					t.Errorf("the injector was called %q", tt.site.calls)
				}
			})
		})
	}
}
