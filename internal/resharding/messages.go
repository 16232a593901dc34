package resharding

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pingline/sink/reshard"
)

// Across reaches the nodes of the other parts. The zero value is a node that has all riders.
type Across struct {
	Parts, Own int
	Ask        func(part int, question []byte, patience time.Duration) ([]byte, error)
	Name       func(part int) string // of a part's node, "" if none is known
}

func (a *Across) on() bool { return a.Parts > 1 }

// first reports whether this node makes the steps of all parts.
func (a *Across) first() bool { return a.Own == 0 }

// say names a part and its node.
func (a *Across) say(part int) string {
	name := ""
	if a.on() {
		name = a.Name(part)
	}
	if name == "" {
		return fmt.Sprintf("part %d, which has no node", part)
	}
	return fmt.Sprintf("part %d (node %s)", part, name)
}

// partQuestion is a question to the node of another part.
type partQuestion struct {
	Form    int               `json:"form"`
	Do      string            `json:"do"`
	Set     string            `json:"set"`
	ID      string            `json:"id,omitempty"` // of the change
	Request *ChangeRequest    `json:"request,omitempty"`
	Names   []string          `json:"names,omitempty"`
	Texts   map[string]string `json:"texts,omitempty"` // of shards, as in --shard
	Part    int               `json:"part,omitempty"`  // that asks
	From    int64             `json:"from,omitempty"`
	To      int64             `json:"to,omitempty"`
}

// partAnswer is the answer: a status of HTTP, and an error or a body.
type partAnswer struct {
	Status int             `json:"status"`
	Error  string          `json:"error,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// holdsBack is part of errors of a part that does not answer.
const holdsBack = "holds it back"

const (
	partForm = 1
	partMark = 'r' // the first byte of a question; no other question between nodes begins with it

	quick  = 2 * time.Second // for an answer out of memory
	slowly = time.Minute     // for a step
)

// statusFor returns the status of HTTP for an error.
func statusFor(err error) int {
	refused, wait := new(reshard.RefusedError), waitError{}
	switch {
	case errors.As(err, &wait):
		return notYetStatus
	case errors.As(err, &refused):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}

// named says of which part an error is.
func named(part string, err error) error {
	text := part + ": " + err.Error()
	switch statusFor(err) {
	case notYetStatus:
		return waitError{&reshard.RefusedError{Why: text}}
	case http.StatusConflict:
		return &reshard.RefusedError{Why: text}
	}
	return fmt.Errorf("%s: %w", part, err)
}

// again has into take a value, by its JSON.
func again(got, into any) error {
	if into == nil {
		return nil
	}
	text, err := json.Marshal(got)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// notYetStatus answers a step that will be possible by itself: whoever asks may ask again.
const notYetStatus = http.StatusTooEarly

// waitError says that a step will be possible by itself.
type waitError struct{ error }

// made is a line of LogFile.
type made struct {
	At   time.Time `json:"at"`
	Step string    `json:"step"`
	From uint64    `json:"from,omitempty"`
	reshard.SetStatus
}

// later adds to an error of a step that some parts have made.
func later(part int, err error, remedy string) error {
	if part == 0 {
		return err
	}
	text := fmt.Sprintf("%v; parts before it have made the step: %s", err, remedy)
	if statusFor(err) == notYetStatus {
		return waitError{&reshard.RefusedError{Why: text}}
	}
	return &reshard.RefusedError{Why: text}
}
