// Package fault decides which phone misbehaves, when and how: faults that phones and
// their networks really have, each with a share of its own.
//
// A decision is a pure function of a seed, the phone and the time, or of a seed, the
// connection and the number of a request: the same seed makes the same faults. The
// package sends nothing.
package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fault is a kind of fault.
type Fault uint8

// The kinds of faults, and of what their shares are.
const (
	Resend    Fault = iota // of requests: the answer is lost on its way, and the phone sends again
	Double                 // of requests: sent twice at once
	Reorder                // of requests: sent after the next one, its pings the other way round
	Offline                // of the time: the phone keeps its pings, and sends them in one upload
	Skew                   // of phones: a clock that is off by up to 90 s, and drifts by up to 200 ppm
	Jump                   // of pings: a clock that says 1970 or 2038
	Frozen                 // of the time: the receiver repeats its last position
	Zero                   // of pings: the position 0,0
	Teleport               // of pings: a position 1 to 50 km off
	Accuracy               // of pings: no accuracy
	Malformed              // of requests: a body that is no JSON, before the right one
	Truncated              // of requests: half of a body, before the whole one
	Slow                   // of requests: a body that takes 1 to 8 s to send
	Cut                    // of requests: a connection that is cut once the request is sent
	Kinds                  // how many there are
)

var names = [Kinds]string{
	"resend", "double", "reorder", "offline", "skew", "jump", "frozen", "zero", "teleport", "accuracy",
	"malformed", "truncated", "slow", "cut",
}

func (k Fault) String() string { return names[k] }

// Spec is the share of each kind of fault, 0 to 1.
type Spec [Kinds]float64

// Parse reads a list such as resend=0.05,double=0.01. The kind all is every kind that
// the list does not name otherwise.
func Parse(text string) (Spec, error) {
	var s Spec
	var named [Kinds]bool
	all := 0.0
	if text == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		share, err := strconv.ParseFloat(value, 64)
		k := slices.Index(names[:], name)
		switch {
		case k < 0 && name != "all":
			return s, fmt.Errorf("%q is no fault: they are all, %s", name, strings.Join(names[:], ", "))
		case !ok || err != nil || !(share >= 0 && share <= 1):
			return s, fmt.Errorf("%s=%s: not a share in [0, 1]", name, value)
		case k < 0:
			all = share
		case named[k]:
			return s, fmt.Errorf("%s is given twice", name)
		default:
			s[k], named[k] = share, true
		}
	}
	for k := range s {
		if !named[k] {
			s[k] = all
		}
	}
	return s, nil
}

// UnmarshalText reads a Spec as Parse does.
func (s *Spec) UnmarshalText(text []byte) (err error) {
	*s, err = Parse(string(text))
	return err
}

// String returns the list that Parse reads.
func (s Spec) String() string {
	var parts []string
	for k, share := range s {
		if share > 0 {
			parts = append(parts, fmt.Sprintf("%s=%g", names[k], share))
		}
	}
	return strings.Join(parts, ",")
}
