package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline/internal/pause"
)

// Injector brings failures about and ends them.
type Injector interface {
	// Begin returns once a failure has begun. An error that wraps ErrUnavailable says
	// that it cannot be had here, and that nothing was done. After any other error it
	// may have begun; context.Canceled says that the user wants no more of it.
	Begin(ctx context.Context, f Failure) error

	// End returns once a failure has ended. After an error it may go on.
	End(ctx context.Context, f Failure) error
}

// ErrUnavailable says that a failure cannot be brought about at this installation.
var ErrUnavailable = errors.New("not available")

// Config sets up a run of a schedule. All of it but Say is required.
type Config struct {
	Steps    []FailureStep
	Lasts    time.Duration // of the run, which goes on after the last step
	Injector Injector
	Limit    time.Duration               // for the injector to begin or end a failure
	Ready    func(context.Context) error // nil if the ingester takes pings
	Recovery time.Duration               // within which it does after a failure
	Say      func(line string)           // is told what happens; nil means nobody
}

// NoTime is why a step is skipped whose turn comes after the end.
const NoTime = "there was no time left"

// StepResult is the result of a step.
type StepResult struct {
	FailureStep
	Began   time.Time // when it was asked for; zero: it was not
	Ended   time.Time // when its end was through
	Ready   time.Time // when the ingester took pings again; zero: it did not within the limit
	Skipped string    // why it was not brought about; "" if it was
}

// Run goes through the steps, from now on, until the time is over or ctx ends. A failure
// that is under way then is ended, and the ingester waited for. A step that is late,
// as the one before took longer, begins at once; one that is later than the time is
// skipped. The error says that a failure could not be ended, or not be recovered from:
// no other follows it.
func (c Config) Run(ctx context.Context) (results []StepResult, err error) {
	began := time.Now()
	lacking := make(map[Failure]string)
	for _, s := range c.Steps {
		o := StepResult{FailureStep: s, Skipped: lacking[s.Fault]}
		switch {
		case o.Skipped != "":
		case pause.For(ctx, time.Until(began.Add(s.At))) != nil:
			return results, nil //nolint:nilerr // told to stop, which is no error
		case time.Since(began) >= c.Lasts:
			o.Skipped = NoTime
		default:
			err = c.step(ctx, &o)
		}
		results = append(results, o)
		if err != nil || ctx.Err() != nil {
			return results, err
		}
		if o.Skipped != NoTime {
			lacking[s.Fault] = o.Skipped
		}
	}
	_ = pause.For(ctx, time.Until(began.Add(c.Lasts))) // an end is no error
	return results, nil
}

func (c *Config) say(format string, args ...any) {
	if c.Say != nil {
		c.Say(fmt.Sprintf(format, args...))
	}
}

// step brings a failure about, ends it, and waits until the ingester takes pings.
func (c *Config) step(ctx context.Context, o *StepResult) error {
	// A failure that began must end, even if ctx has.
	on := context.WithoutCancel(ctx)
	o.Began = time.Now()
	err := c.limited(on, o.Fault, c.Injector.Begin)
	switch {
	case errors.Is(err, ErrUnavailable):
		o.Began, o.Skipped = time.Time{}, err.Error()
		c.say("%s: skipped from here on: %v", o.Fault, err)
		return nil
	case errors.Is(err, context.Canceled):
		err = nil // it may have begun
	case err == nil:
		c.say("%s: %s for %v", o.Fault, o.Fault.Is(), o.Lasts.Round(100*time.Millisecond))
		_ = pause.For(ctx, o.Lasts) // is cut short by the end of ctx
	}
	err = errors.Join(err, c.limited(on, o.Fault, c.Injector.End))
	o.Ended = time.Now()
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Fault, err)
	} else {
		c.say("%s: over", o.Fault)
	}
	return errors.Join(err, c.recover(on, o))
}

// limited has the injector begin or end a failure within the limit.
func (c *Config) limited(ctx context.Context, f Failure, do func(context.Context, Failure) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	return do(ctx, f)
}

const readyEvery = 100 * time.Millisecond

// recover waits until the ingester takes pings.
func (c *Config) recover(ctx context.Context, o *StepResult) error {
	ctx, cancel := context.WithTimeout(ctx, c.Recovery)
	defer cancel()
	for {
		err := c.Ready(ctx)
		if err == nil {
			o.Ready = time.Now()
			return nil
		}
		if pause.For(ctx, readyEvery) != nil {
			return fmt.Errorf("%s: %v after its end the ingester does not take pings: %w", o.Fault, c.Recovery, err)
		}
	}
}
