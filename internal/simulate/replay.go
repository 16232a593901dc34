package simulate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pingline/internal/command"
	"pingline/sim/replay"
)

// SpeedFlag is how many seconds of a track go by in one, written 10x or 10.
type SpeedFlag struct {
	Times float64
	text  string
}

// UnmarshalText reads a number, which may have an x behind it.
func (s *SpeedFlag) UnmarshalText(text []byte) error {
	s.text = string(text)
	v, err := strconv.ParseFloat(strings.TrimSuffix(s.text, "x"), 64)
	if err != nil || !(v >= 0.01 && v <= replay.MaxSpeed) {
		return fmt.Errorf("%q is not a speed in [0.01x, %dx], such as 10x", text, replay.MaxSpeed)
	}
	s.Times = v
	return nil
}

func (s SpeedFlag) String() string { return s.text }

// ReplayCmd sends recorded tracks.
type ReplayCmd struct {
	Files []string `arg:"" name:"file" help:"Recorded tracks: NDJSON or other JSON, CSV, GPX, GeoJSON, a Google Timeline or FIT, each also with .gz."`

	TargetFlags `embed:""`
	ResultFlags `embed:""`

	Speed  SpeedFlag `default:"1x" help:"How much faster than recorded, such as 10x. Pings keep their distance in time; the last is sent at its own time, and those before are old when they are sent."`
	Clones int       `default:"1" help:"Riders for each recorded one, itself included."`
	Jitter bool      `help:"Clones ride up to 2 km away, and begin at other moments."`
}

// Validate is called by the parser.
func (c *ReplayCmd) Validate() error {
	if c.Clones < 1 || c.Clones > replay.MaxPhones {
		return fmt.Errorf("--clones: %d is not in [1, %d]", c.Clones, replay.MaxPhones)
	}
	return c.check()
}

// Run sends until the last track has ended or ctx has, and prints the result.
func (c *ReplayCmd) Run(p *command.Program) error {
	recorded, err := replay.Read(c.Files)
	if err != nil {
		return command.Unusable(err)
	}
	if recorded.Refused > 0 {
		fmt.Fprintf(p.Stderr, "%s left out, the first because of %v\n", lines(recorded.Refused), recorded.Because)
	}
	if most := replay.MaxPhones / recorded.Tracks(); c.Clones > most {
		return command.Unusable(fmt.Errorf("--clones: %d of %d tracks are more than %d phones", c.Clones, recorded.Tracks(), replay.MaxPhones))
	}
	phones, err := replay.New(recorded, replay.Config{Seed: c.Seed, Speed: c.Speed.Times, Clones: c.Clones, Jitter: c.Jitter})
	if err != nil {
		return command.Unusable(err)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	cfg.Phones, cfg.Schedule = phones, phones.Schedule
	lasts := phones.Lasts().Round(time.Second)
	cfg.For = lasts + time.Second // for the end of what is sent again and again
	d := trial{
		Program: p, result: c.ResultFlags, target: c.Target, network: c.Network, lasts: cfg.For, rate: float64(phones.Pings()) / max(phones.Lasts().Seconds(), 1),
		title:   fmt.Sprintf("Replay of %s tracks by %s phones", comma(uint64(recorded.Tracks())), comma(uint64(phones.Riders()))),
		command: c.command(),
	}
	return d.run(cfg)
}

func lines(n uint64) string {
	if n == 1 {
		return "1 ping is"
	}
	return comma(n) + " pings are"
}

// command returns the command line that does the same again.
func (c *ReplayCmd) command() string {
	text := fmt.Sprintf("pingline sim replay %s %s --speed=%v --clones=%d", strings.Join(c.Files, " "), c.args(), c.Speed, c.Clones)
	if c.Jitter {
		text += " --jitter"
	}
	return text
}
