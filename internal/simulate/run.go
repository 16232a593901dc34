package simulate

import (
	"fmt"
	"regexp"
	"time"

	"pingline/internal/command"
	"pingline/sim"
	"pingline/sim/apps"
	"pingline/sim/fault"
)

// CityLoad says which phones of a city send, and how.
type CityLoad struct {
	TargetFlags   `embed:""`
	Profile       `embed:""`
	MovementFlags `embed:""`

	Riders   int           `default:"1000" help:"Phones there are to begin with; more join where the rate asks for more pings than they send."`
	Interval time.Duration `default:"5s" help:"Time between two pings of a phone."`
	Rate     *float64      `help:"Pings a second, of all phones together (default: riders / interval)."`
	Prefix   string        `default:"sim-" placeholder:"TEXT" help:"Begins the name of each rider, so that several runs have riders of their own."`
}

const mostRiders = 10_000_000

var prefixes = regexp.MustCompile(`^[\pL\d._:-]{0,64}$`)

// prefixed are phones whose riders have names of another beginning.
type prefixed struct {
	sim.Phones
	prefix string
}

func (p prefixed) Name(i int) (rider, device string) {
	rider, device = p.Phones.Name(i)
	return p.prefix + rider, device
}

// check refuses what cannot be sent in that time, 0 for ever.
func (c *CityLoad) check(lasts time.Duration) error {
	switch {
	case c.Riders < 1 || c.Riders > mostRiders:
		return fmt.Errorf("--riders: %d is not in [1, %d]", c.Riders, mostRiders)
	case c.Interval < 10*time.Millisecond || c.Interval > time.Hour:
		return fmt.Errorf("--interval: %v is not in [10ms, 1h]", c.Interval)
	case c.Rate != nil && !(*c.Rate >= 0.01 && *c.Rate <= 1e7):
		return fmt.Errorf("--rate: %v is not in [0.01, 10000000]", *c.Rate)
	case !prefixes.MatchString(c.Prefix):
		return fmt.Errorf("--prefix: %q is not up to 64 letters, digits, dots, dashes, underscores or colons", c.Prefix)
	}
	if err := c.Profile.check(lasts); err != nil {
		return err
	}
	if err := c.MovementFlags.check(c.Profile.Profile); err != nil {
		return err
	}
	return c.TargetFlags.check()
}

// rate returns the pings/s of all phones together.
func (c *CityLoad) rate() float64 {
	if c.Rate != nil {
		return *c.Rate
	}
	return float64(c.Riders) / c.Interval.Seconds()
}

// config returns the load that begins now and takes that time.
func (c *CityLoad) config(p *command.Program, lasts time.Duration) (cfg sim.LoadConfig, err error) {
	town := sim.CityConfig{Seed: c.Seed, Riders: c.Riders, Interval: c.Interval}
	if cfg, err = c.load(); err != nil {
		return cfg, err
	}
	cfg.Rate, cfg.For, cfg.MaxRiders = c.rate(), lasts, mostRiders
	c.apply(&town, &cfg, time.Now())
	cfg.Phones, err = c.phones(p, town, p.Stderr)
	if c.Prefix != "" {
		cfg.Phones = prefixed{cfg.Phones, c.Prefix}
	}
	return cfg, err
}

// text returns the flags of a command line that sends the same again.
func (c *CityLoad) text(lasts time.Duration) string {
	return fmt.Sprintf("%s --riders=%d --interval=%v --rate=%g --for=%v --prefix=%s",
		c.args(), c.Riders, c.Interval, c.rate(), lasts, c.Prefix) + c.Profile.String() + c.MovementFlags.String()
}

// RunCmd sends the pings of a city.
type RunCmd struct {
	CityLoad    `embed:""`
	ResultFlags `embed:""`

	For      time.Duration `default:"1m" help:"How long pings are due; 0 until Ctrl-C."`
	Protocol apps.App      `default:"native" placeholder:"NAME" help:"How the phones send: native; or as an app does, with its own requests, batches and repetitions: owntracks, owntracks-ios, overland, traccar, traccar9, traccar7, osmand, gpslogger, dawarich, opengts, transistorsoft, transistorsoft-batch, colota or phonetrack."`
}

// Validate is called by the parser.
func (c *RunCmd) Validate() error {
	if c.For < 0 || c.For > mostTime {
		return fmt.Errorf("--for: %v is not in [0s, 366d]", c.For)
	}
	if err := c.check(c.For); err != nil {
		return err
	}
	return c.checkApp()
}

// checkApp refuses an app together with what only the native protocol has.
func (c *RunCmd) checkApp() error {
	app := c.Protocol.Name
	if app == "" {
		return nil
	}
	for _, flag := range []struct {
		name, why string
		set       bool
	}{
		{"--ack-log", "an app hears no verdicts", c.AckLog != ""},
		{"--faults", "an app has no faults but its own", c.Faults != fault.Spec{}},
		{"--format", "an app has a form of its own", c.Format != string(sim.JSON)},
		{"--batch", "an app has batches of its own", c.Batch.text != "" && c.Batch.text != defaultBatch},
	} {
		if flag.set {
			return fmt.Errorf("%s, --protocol=%s: %s: give one of the two", flag.name, app, flag.why)
		}
	}
	return nil
}

// Run sends until the time is over or ctx ends, and prints the result.
func (c *RunCmd) Run(p *command.Program) error {
	cfg, err := c.config(p, c.For)
	if err != nil {
		return err
	}
	d := trial{
		Program: p, result: c.ResultFlags, target: c.Target, network: c.Network, lasts: c.For, rate: cfg.Rate,
		title: "A simulated city", command: "pingline sim run " + c.text(c.For),
	}
	if app := c.Protocol.Name; app != "" {
		cfg.App = &c.Protocol
		d.command += " --protocol=" + app
	}
	return d.run(cfg)
}
