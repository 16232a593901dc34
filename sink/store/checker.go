package store

import "context"

// Checker is implemented by stores that can be tested without leaving a row.
type Checker interface {
	// Check finds out whether the store can take and return pings, and returns
	// each thing that it checked. A check that depends on a failed check is left
	// out.
	Check(ctx context.Context) []Finding
}

// Finding is the result of a check that is made before pings are taken.
type Finding struct {
	What   string // subject, in a few words, such as "write"
	Found  string // result, in words
	Remedy string // advice to the operator; "" if all is well
}
