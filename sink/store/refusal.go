package store

import (
	"fmt"
	"strings"
	"time"
)

// Kind says what is to be done about a write that was not taken.
type Kind uint8

// The kinds of refusal.
const (
	Retry     Kind = iota + 1 // the store is in trouble: the same write is tried again
	Configure                 // an operator must act: everything is kept and tried until then
	BadRows                   // some rows are refused for their content: the others are written, these are put aside
)

func (k Kind) String() string {
	switch k {
	case Retry:
		return "retry"
	case Configure:
		return "configure"
	case BadRows:
		return "bad rows"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Refusal says why a write was not taken.
type Refusal struct {
	Kind   Kind
	Reason string // of Configure one of Stops, of BadRows one of Reasons: a label of metrics
	Advice string // of Configure: what the operator should do, one sentence without a full stop

	// Of Retry.
	After time.Duration // how long the store asks to be left alone; 0 if it does not
	Busy  bool          // the store only asks for a slower pace: no reason to think it ill

	// Of BadRows. Neither is trusted further than a write of the others confirms it.
	All      bool          // the store said that it took none: each row is refused for Reason
	Suspects []int         // rows that the store seems to mean, in order; empty if it does not say
	Keeps    time.Duration // of Expired: how long the store keeps rows, if it said so

	Err error // in the store's words, at most about 1 KiB; it quotes no credentials
}

func (r *Refusal) Error() string { return r.Err.Error() }

func (r *Refusal) Unwrap() error { return r.Err }

// Reasons of BadRows, in few words.
const (
	TooLarge     = "too large"
	Unparsable   = "unable to parse"
	TypeConflict = "field type conflict"
	Expired      = "beyond retention" // older than the store keeps: counts against no budget of refusals
	Other        = "other"
)

// Reasons are all that a refusal of rows can have.
var Reasons = []string{TooLarge, Unparsable, TypeConflict, Expired, Other}

// Reasons of Configure, in few words.
const (
	Credentials = "credentials" // missing or wrong
	Rights      = "rights"      // not to write there
	Missing     = "missing"     // no such bucket, database, table or organization
	Limit       = "limit"       // of the database, such as a number of series
	Address     = "address"     // what answers there does not take writes
)

// Stops are all that a refusal for an operator can have.
var Stops = []string{Credentials, Rights, Missing, Limit, Address}

// maxText bounds what a store may make us keep of its words, in bytes.
const maxText = 1 << 10

// Clip bounds the text of a store to 1 KiB of valid UTF-8. It keeps the end, where
// a count of rows may stand.
func Clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxText {
		return s
	}
	const half = maxText/2 - 2
	return strings.ToValidUTF8(s[:half]+"…"+s[len(s)-half:], "")
}
