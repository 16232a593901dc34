package store

import "context"

// Checker is implemented by stores that can be tried out without a row that stays.
type Checker interface {
	// Check finds out whether the store could be used as it is meant to be, and
	// returns each thing that it looked at. What depends on something that is not
	// well is left out.
	Check(ctx context.Context) []Finding
}

// Finding is one thing that was looked at before pings are taken.
type Finding struct {
	What   string // a few words, such as "write"
	Found  string // what was found
	Remedy string // what the operator should do; "" if all is well
}
