// Package status tells whoever watches a node how it does: now, and step by step for the
// last ten minutes.
//
// A number that is not known is told as null, never as 0 and never as an earlier one: a
// rate of a step that was cut short or drawn out, as by a clock that was set or a process
// that was stopped for a while, and a quantile of nothing. Memory does not grow. The package
// reads the node and changes nothing.
package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Answer is the answer of GET /v1/status.
type Answer struct {
	At        int64  `json:"at"` // ms since 1970, by the node's clock
	Version   string `json:"version"`
	Ready     bool   `json:"ready"` // pings are taken
	Reason    string `json:"reason"`
	Level     int    `json:"level"`
	LevelName string `json:"level_name"`

	LevelReason string `json:"level_reason"` // "" at level 0

	GivingUp []string       `json:"giving_up"` // sentences
	Breakers []ShardBreaker `json:"breakers"`
	Now      Values         `json:"now"`
	StepS    int            `json:"step_s"`
	From     int64          `json:"from"` // end of the first step of History, ms since 1970
	History  Course         `json:"history"`

	Reshard []ShardChange `json:"reshard,omitempty"` // changes of shards that go on
}

// ShardChange is a change of the shards of a set that goes on. It has no address and no text of a
// store.
type ShardChange struct {
	Set      string   `json:"set"`
	Phase    string   `json:"phase"` // dual or cut; settled: history alone is worked on
	What     string   `json:"what"`
	History  string   `json:"history,omitempty"`    // copying, comparing, moved, deleting, deleted, cleaning or cleaned; "": none is moved
	Done     *float64 `json:"done,omitempty"`       // share of that, [0, 1]
	RowsPerS float64  `json:"rows_per_s,omitempty"` // that are written now
	LeftS    float64  `json:"left_s,omitempty"`     // s, at this rate; 0 if that cannot be told
	Stands   string   `json:"stands,omitempty"`     // why history stands
}

// ShardBreaker is the circuit breaker of a shard.
type ShardBreaker struct {
	Shard string `json:"shard"`
	State string `json:"state"` // closed, half-open or open
}

// Quantity is one of the numbers that a status tells.
type Quantity int

// The quantities. Rates and times are of a step, all else is of its end.
const (
	Received     Quantity = iota // pings/s of requests that were answered verdict by verdict
	Stored                       // pings/s that stores took
	Kept                         // stored pings ÷ valid pings, [0, 1]
	Shed                         // pings/s
	FreshnessP50                 // seconds between a ping's own time and its storing, half of the pings at most
	FreshnessP99                 // the same, 99 % of the pings at most
	Queued                       // pings in the log that wait for their store
	QueueAge                     // seconds that the oldest of the slowest lane has waited
	Level                        // of shedding, 0 to 4
	BreakersOpen                 // shards whose breaker is not closed
	Riders                       // tracks that the filter knows
	Streams                      // open streams of events

	quantities = int(Streams) + 1
)

var keys = [quantities]string{
	"received_per_s", "stored_per_s", "kept_ratio", "shed_per_s", "freshness_p50_s", "freshness_p99_s",
	"queue_pings", "queue_age_s", "level", "breakers_open", "riders", "streams",
}

// Values has the value of each quantity; NaN is not known, and null in JSON.
type Values [quantities]float64

// unknown returns values of which none is known.
func unknown() (v Values) {
	for i := range v {
		v[i] = math.NaN()
	}
	return v
}

// Of returns the value of a quantity, and whether it is known.
func (v *Values) Of(q Quantity) (float64, bool) { return v[q], !math.IsNaN(v[q]) }

// Course has the values of each quantity, oldest first, all of the same number.
type Course [quantities][]float64

// MarshalJSON returns an object with the key of each quantity.
func (v Values) MarshalJSON() ([]byte, error) {
	return object(func(dst []byte, q int) []byte { return appendValue(dst, v[q]) }), nil
}

// MarshalJSON returns an object with the key of each quantity.
func (h Course) MarshalJSON() ([]byte, error) {
	return object(func(dst []byte, q int) []byte {
		dst = append(dst, '[')
		for i, v := range h[q] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, v)
		}
		return append(dst, ']')
	}), nil
}

func object(value func(dst []byte, q int) []byte) []byte {
	dst := []byte{'{'}
	for q, key := range keys {
		if q > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendQuote(dst, key), ':')
		dst = value(dst, q)
	}
	return append(dst, '}')
}

// appendValue appends v with three decimals at most.
func appendValue(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, math.Round(v*1000)/1000, 'f', -1, 64)
}

// UnmarshalJSON reads an object with keys of quantities: an absent key is not known, and
// a key that is not of a quantity is ignored.
func (v *Values) UnmarshalJSON(text []byte) error {
	var read map[string]*float64
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*v = unknown()
	for q, key := range keys {
		if p := read[key]; p != nil {
			v[q] = *p
		}
	}
	return nil
}

// UnmarshalJSON reads an object as Values does; the values of an absent key are not known.
func (h *Course) UnmarshalJSON(text []byte) error {
	var read map[string]json.RawMessage
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	steps := 0
	for q, key := range keys {
		var list []*float64
		if text := read[key]; text != nil {
			if err := json.Unmarshal(text, &list); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		h[q] = make([]float64, len(list))
		for i, p := range list {
			if h[q][i] = math.NaN(); p != nil {
				h[q][i] = *p
			}
		}
		steps = max(steps, len(list))
	}
	for q := range h { // all end at the same step
		before := make([]float64, steps-len(h[q]))
		for i := range before {
			before[i] = math.NaN()
		}
		h[q] = append(before, h[q]...)
	}
	return nil
}

// text returns the answer as a client gets it, ending in a line feed.
func (a *Answer) text() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(a)
	return b.Bytes(), err
}
