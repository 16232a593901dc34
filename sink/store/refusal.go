package store

import (
	"fmt"
	"strings"
	"time"
)

// Kind says how to go on after a write that was not taken.
type Kind uint8

// The kinds of refusal.
const (
	Retry     Kind = iota + 1 // the store is in trouble: the same write is tried again
	Configure                 // an operator must act: everything is kept and tried until then
	BadRows                   // some rows are refused for their content and put aside, all other rows are written
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
	Reason string // of Configure an element of Stops, of BadRows an element of Reasons: a label of metrics
	Advice string // of Configure: advice to the operator, a sentence without a full stop

	// Fields of Retry.
	After time.Duration // how long the store asks to be left alone; 0 if it does not
	Busy  bool          // the store only asks for a slower pace, which counts as no trouble

	// Fields of BadRows. All and Suspects are only hints: the sink writes the other
	// rows to find out.
	All      bool          // the store said that it took no row: each row is refused for Reason
	Suspects []int         // rows that the store seems to refuse, in order; empty if it does not say
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

// Reasons are all reasons of BadRows.
var Reasons = []string{TooLarge, Unparsable, TypeConflict, Expired, Other}

// Reasons of Configure, in few words.
const (
	Credentials = "credentials" // missing or wrong
	Rights      = "rights"      // no right to write there
	Missing     = "missing"     // bucket, database, table or organization does not exist
	Limit       = "limit"       // limit of the database is reached, such as a number of series
	Address     = "address"     // server at the address does not take writes
)

// Stops are all reasons of Configure.
var Stops = []string{Credentials, Rights, Missing, Limit, Address}

// maxText is the most bytes that are kept of a store's text.
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
