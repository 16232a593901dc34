package fields

import (
	"fmt"
	"regexp"
	"sync/atomic"
)

// Conflict is a field whose value has another type than the server has fixed.
type Conflict struct {
	Measurement, Field string

	Is, Must string // types, in InfluxDB's words
}

var conflicting = regexp.MustCompile(`field type conflict: input field "([^"]+)" on measurement "([^"]*)" is type (\w+), already exists as type (\w+)`)

// ConflictIn returns the conflict that an answer of InfluxDB tells of.
func ConflictIn(answer string) (c Conflict, ok bool) {
	m := conflicting.FindStringSubmatch(answer)
	if m == nil {
		return c, false
	}
	return Conflict{Field: m[1], Measurement: m[2], Is: m[3], Must: m[4]}, true
}

// Lost counts lines that were written without fields of another type. Safe for concurrent use.
type Lost struct {
	lines atomic.Uint64
	last  atomic.Pointer[Conflict] // nil if there is none
}

// AttrsLost implements store.AttrsLoser.
func (l *Lost) AttrsLost() (lines uint64, why string) {
	if c := l.last.Load(); c != nil {
		why = fmt.Sprintf("InfluxDB has %s of type %s, and not %s: send it under another name", c.Field, c.Must, c.Is)
	}
	return l.lines.Load(), why
}

// mostConflicts bounds how many kinds of a field are left out of lines.
const mostConflicts = 32

// Relent calls write with lines. As long as the error is a conflict, it calls write again with
// lines without that field where it has that type. It returns the last error.
func (l *Lost) Relent(lines []byte, write func(lines []byte) error, conflictOf func(err error) (Conflict, bool)) error {
	left := lines
	err := write(left)
	for range mostConflicts {
		if err == nil {
			break
		}
		c, ok := conflictOf(err)
		if !ok {
			break
		}
		next := Without(left, func(field, value []byte) bool { return string(field) == c.Field && TypeOf(value) == c.Is })
		if len(next) == len(left) {
			break
		}
		left = next
		l.last.Store(&c)
		err = write(left)
	}
	if err == nil {
		l.lines.Add(uint64(Fewer(lines, left)))
	}
	return err
}
