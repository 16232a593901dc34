package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pingline"
)

// RidersOf is a set of riders. The zero value has none.
type RidersOf struct {
	exact    map[string]struct{}
	prefixes []string // "" is of all riders
}

// mostRiders is the most names and prefixes of a set.
const mostRiders = 1000

// Everyone has all riders.
var Everyone = RidersOf{prefixes: []string{""}}

// ParseRiders returns the set of names and of prefixes, which end in *; * alone has all
// riders. A rider whose own name ends in * can only be had by a prefix.
func ParseRiders(names []string) (RidersOf, error) {
	var r RidersOf
	if len(names) > mostRiders {
		return r, fmt.Errorf("%d riders are more than %d: use a prefix", len(names), mostRiders)
	}
	for _, name := range names {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			if len(prefix) > pingline.MaxID {
				return RidersOf{}, fmt.Errorf("rider %q: longer than %d bytes", name, pingline.MaxID)
			}
			r.prefixes = append(r.prefixes, prefix)
			continue
		}
		if err := r.add(name); err != nil {
			return RidersOf{}, err
		}
	}
	return r, nil
}

// ExactRiders returns the set of names; a * in a name is a letter like any other.
func ExactRiders(names ...string) (RidersOf, error) {
	var r RidersOf
	if len(names) > mostRiders {
		return r, fmt.Errorf("%d riders are more than %d", len(names), mostRiders)
	}
	for _, name := range names {
		if err := r.add(name); err != nil {
			return RidersOf{}, err
		}
	}
	return r, nil
}

func (r *RidersOf) add(name string) error {
	if err := pingline.CheckID("rider", name); err != nil {
		var wrong *pingline.FieldError
		if errors.As(err, &wrong) {
			return fmt.Errorf("rider %.100q: %s", name, wrong.Reason)
		}
		return err
	}
	if r.exact == nil {
		r.exact = make(map[string]struct{})
	}
	r.exact[name] = struct{}{}
	return nil
}

// Has reports whether a rider is in the set.
func (r *RidersOf) Has(rider string) bool {
	for _, p := range r.prefixes {
		if strings.HasPrefix(rider, p) {
			return true
		}
	}
	_, ok := r.exact[rider]
	return ok
}

// All reports whether all riders are in the set.
func (r *RidersOf) All() bool { return slices.Contains(r.prefixes, "") }

// Only returns the rider of a set of one rider, or "".
func (r *RidersOf) Only() string {
	if len(r.prefixes) == 0 && len(r.exact) == 1 {
		for rider := range r.exact {
			return rider
		}
	}
	return ""
}
