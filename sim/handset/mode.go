package handset

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Mode is how a rider gets about.
type Mode uint8

// The modes there are, and their number. A courier rides a bicycle from door to door;
// a bus stops every few hundred metres.
const (
	Car Mode = iota
	Courier
	Walker
	Bus
	Modes
)

var modeNames = [Modes]string{"car", "courier", "walk", "bus"}

func (k Mode) String() string {
	if k >= Modes {
		return "Mode(" + strconv.Itoa(int(k)) + ")"
	}
	return modeNames[k]
}

// Mix says which part of the riders is of which mode: shares of their sum.
type Mix [Modes]float64

// mostShare is the largest share a mix may name.
const mostShare = 1e6

func (m *Mix) check() error {
	sum := 0.0
	for mode, share := range m {
		if !(share >= 0 && share <= mostShare) {
			return fmt.Errorf("mix of %v=%g: not in [0, %d]", Mode(mode), share, int(mostShare))
		}
		sum += share
	}
	if !(sum > 1/mostShare) {
		return fmt.Errorf("mix without riders: no share is above 0")
	}
	return nil
}

// UnmarshalText reads a mix such as car=0.7,courier=0.2,walk=0.1. Modes that are not
// named have no riders.
func (m *Mix) UnmarshalText(text []byte) error {
	var mix Mix
	var seen [Modes]bool
	for part := range strings.SplitSeq(string(text), ",") {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		mode := modeOf(name)
		share, err := strconv.ParseFloat(value, 64)
		switch {
		case !found:
			return fmt.Errorf("%q is not a mode and its share, such as car=0.7", part)
		case mode == Modes:
			return fmt.Errorf("%q is not one of %s", name, strings.Join(modeNames[:], ", "))
		case seen[mode]:
			return fmt.Errorf("%s has two shares", name)
		case err != nil || math.IsNaN(share):
			return fmt.Errorf("share %q of %s is not a number", value, name)
		}
		mix[mode], seen[mode] = share, true
	}
	if err := mix.check(); err != nil {
		return err
	}
	*m = mix
	return nil
}

func modeOf(name string) Mode {
	for mode, n := range modeNames {
		if n == name {
			return Mode(mode)
		}
	}
	return Modes
}

// MarshalText returns the mix as UnmarshalText reads it.
func (m Mix) MarshalText() ([]byte, error) {
	var text []byte
	for mode, share := range m {
		if share == 0 {
			continue
		}
		if text != nil {
			text = append(text, ',')
		}
		text = append(append(text, modeNames[mode]...), '=')
		text = strconv.AppendFloat(text, share, 'g', -1, 64)
	}
	return text, nil
}
