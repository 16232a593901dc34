// Package network puts a bad network between a load and its server: every connection
// passes through a proxy that delays, loses and throttles what it carries.
//
// It promises that what arrives is what was sent, later, or nothing more of a connection
// at all: the proxy speaks TCP, below HTTP and TLS. It does not repeat itself: delays and
// losses are drawn anew in each run.
package network

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pingline/internal/unit"
)

// Config says how bad a network is. The zero value is as good as no proxy.
type Config struct {
	Latency   time.Duration // that an answer comes later: half of it each way
	Jitter    time.Duration // by which that differs at most, up or down
	Loss      float64       // share of packets that are lost, and sent again by TCP after 200 ms, 400 ms and so on
	Bandwidth float64       // bytes/s of each connection, each way; 0: no limit
	text      string
}

const (
	mostLatency    = time.Minute
	mostLoss       = 0.5
	leastBandwidth = 1000 // bytes/s
	mostBandwidth  = 10e9
)

// Set reports whether the network is bad at all.
func (s *Config) Set() bool { return s.text != "" }

// String returns the text that was read.
func (s Config) String() string { return s.text }

// UnmarshalText reads latency=80ms,jitter=40ms,loss=0.01,bandwidth=1MB/s, each at most
// once and in any order.
func (s *Config) UnmarshalText(text []byte) error {
	*s = Config{text: string(text)}
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(s.text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if key, value = strings.TrimSpace(key), strings.TrimSpace(value); !ok {
			return fmt.Errorf("%q is not KEY=VALUE, such as latency=80ms", part)
		}
		if seen[key] {
			return fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if err := s.set(key, value); err != nil {
			return err
		}
	}
	if s.Jitter > s.Latency {
		return fmt.Errorf("jitter %v is more than the latency, %v: nothing arrives before it was sent", s.Jitter, s.Latency)
	}
	return nil
}

func (s *Config) set(key, value string) (err error) {
	switch key {
	case "latency":
		s.Latency, err = delay(key, value)
	case "jitter":
		s.Jitter, err = delay(key, value)
	case "loss":
		if s.Loss, err = strconv.ParseFloat(value, 64); err != nil || !(s.Loss >= 0 && s.Loss <= mostLoss) {
			return fmt.Errorf("loss %q is not a share in [0, %v]", value, mostLoss)
		}
	case "bandwidth":
		var b unit.Bytes
		plain, perSecond := strings.CutSuffix(value, "/s")
		if err := b.UnmarshalText([]byte(plain)); err != nil || !perSecond || b < leastBandwidth || float64(b) > mostBandwidth {
			return fmt.Errorf("bandwidth %q is not in [1KB/s, 10GB/s], such as 1MB/s", value)
		}
		s.Bandwidth = float64(b)
	default:
		return fmt.Errorf("%q is none of latency, jitter, loss, bandwidth", key)
	}
	return err
}

// delay reads a time in whole ms.
func delay(key, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > mostLatency || d%time.Millisecond != 0 {
		return 0, fmt.Errorf("%s %q is not in [0ms, 1m], in whole ms, such as 80ms", key, value)
	}
	return d, nil
}
