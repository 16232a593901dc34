package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// Failure is something that goes wrong at an installation, from its begin to its end.
type Failure uint8

// The failures there are.
const (
	Kill        Failure = iota // the ingester ends without warning, as by kill -9, and is started again
	Freeze                     // the ingester stands still, as by kill -STOP, and goes on
	KillStore                  // the same of a store
	FreezeStore                // the same of a store
	Fill                       // the disk with the ingester's log has no room, and has again
	Cut                        // the ingester does not reach its stores, and does again
	Failures                   // how many there are
)

var failureNames = [Failures]struct{ name, is, begin, end string }{
	{"kill", "the ingester is killed", "kill the ingester (kill -9)", "start the ingester again"},
	{"freeze", "the ingester is frozen", "freeze the ingester (kill -STOP)", "let the ingester go on (kill -CONT)"},
	{"kill-store", "the store is killed", "kill a store (kill -9)", "start the store again"},
	{"freeze-store", "the store is frozen", "freeze a store (kill -STOP)", "let the store go on (kill -CONT)"},
	{"fill", "the disk is full", "fill the disk that the ingester's log is on", "make room on the disk again"},
	{"cut", "the network to the store is cut", "cut the network between the ingester and a store", "connect the ingester and the store again"},
}

// String returns the name that a script is called with.
func (f Failure) String() string { return failureNames[f].name }

// Is returns a sentence that says what is wrong meanwhile.
func (f Failure) Is() string { return failureNames[f].is }

// List is failures to choose from, each of them once. Nil means all.
type List []Failure

// UnmarshalText reads a list such as kill,freeze-store, or all.
func (l *List) UnmarshalText(text []byte) error {
	*l = nil
	if string(text) == "all" {
		return nil
	}
	for name := range strings.SplitSeq(string(text), ",") {
		name = strings.TrimSpace(name)
		f := slices.IndexFunc(failureNames[:], func(of struct{ name, is, begin, end string }) bool { return of.name == name })
		switch {
		case f < 0:
			return fmt.Errorf("%q is not one of all, %s", name, strings.Join(allNames(), ", "))
		case slices.Contains(*l, Failure(f)):
			return fmt.Errorf("%s is given twice", name)
		}
		*l = append(*l, Failure(f))
	}
	return nil
}

// String returns the list that UnmarshalText reads.
func (l List) String() string {
	if l == nil {
		return "all"
	}
	var names []string
	for _, f := range l {
		names = append(names, f.String())
	}
	return strings.Join(names, ",")
}

func allNames() (names []string) {
	for f := range Failures {
		names = append(names, f.String())
	}
	return names
}

// sorted returns the failures of a list in an order that does not depend on its own.
func (l List) sorted() (all []Failure) {
	for f := range Failures {
		if l == nil || slices.Contains(l, f) {
			all = append(all, f)
		}
	}
	return all
}
