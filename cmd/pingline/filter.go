package main

import (
	"fmt"
	"math"
	"time"

	"pingline/dedupe"
	"pingline/dedupe/carried"
)

// filterConfig has the flags of the filter for every command that runs it.
type filterConfig struct {
	LiveGap      time.Duration `default:"30s" help:"Age at most of a moving rider's newest stored ping; 0: no limit."`
	MaxGap       time.Duration `default:"300s" help:"Longest time between a track's stored pings with dropped ones between them; 0: no limit."`
	IdleFlush    time.Duration `default:"60s" help:"How long a held ping waits for the next one; 0: until it comes."`
	KeepOnChange []string      `placeholder:"NAME,…" help:"Attributes: a ping in which one of them changed is stored."`
	MaxRiders    int           `default:"1000000" help:"Tracks the filter knows at once; beyond, the longest silent is forgotten, those with one ping first."`
}

func (c *filterConfig) config() dedupe.Config {
	cfg := dedupe.DefaultConfig()
	cfg.Keep = c.KeepOnChange
	cfg.LiveGap, cfg.MaxGap, cfg.IdleFlush, cfg.MaxRiders = c.LiveGap, c.MaxGap, c.IdleFlush, c.MaxRiders
	return cfg
}

// check returns an error that names the flag and the limit. Kong calls Validate of
// commands only, not of embedded structs.
func (c *filterConfig) check() error {
	if c.LiveGap < 0 || c.MaxGap < 0 || c.IdleFlush < 0 {
		return fmt.Errorf("--live-gap, --max-gap, --idle-flush: %v, %v, %v: none may be below 0", c.LiveGap, c.MaxGap, c.IdleFlush)
	}
	if err := carried.Check(c.KeepOnChange); err != nil {
		return fmt.Errorf("--keep-on-change: %w", err)
	}
	if c.MaxRiders < 1 || c.MaxRiders > math.MaxInt32 {
		return fmt.Errorf("--max-riders: %d is not in [1, %d]", c.MaxRiders, math.MaxInt32)
	}
	return nil
}
