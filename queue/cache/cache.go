// Package cache holds the newest records of a log in memory.
package cache

import (
	"slices"

	"pingline/queue/record"
)

// Records are the newest records, numbered without a gap, within a limit of Most bytes. They are
// not safe for concurrent use.
type Records struct {
	Most int64

	list  []record.Record
	head  int // list[:head] is empty
	bytes int64
}

// Overhead is the bytes a record takes in memory beside its payload.
const Overhead = 128

// Add adds the newest record. If its number does not follow, all records before it are dropped.
func (c *Records) Add(r record.Record) {
	if n := len(c.list); n > c.head && c.list[n-1].Number+1 != r.Number {
		*c = Records{Most: c.Most}
	}
	c.list = append(c.list, r)
	c.bytes += Overhead + int64(len(r.Payload))
	for c.bytes > c.Most {
		c.bytes -= Overhead + int64(len(c.list[c.head].Payload))
		c.list[c.head] = record.Record{}
		c.head++
	}
	if c.head > len(c.list)/2 {
		c.list = slices.Delete(c.list, 0, c.head)
		c.head = 0
	}
}

// First returns the number of the oldest record held, 0 if there is none.
func (c *Records) First() uint64 {
	if c.head == len(c.list) {
		return 0
	}
	return c.list[c.head].Number
}

// Get returns record number, if it is held.
func (c *Records) Get(number uint64) (record.Record, bool) {
	first := c.First()
	if first == 0 || number < first || number-first >= uint64(len(c.list)-c.head) {
		return record.Record{}, false
	}
	return c.list[c.head+int(number-first)], true
}

// Bytes returns how much memory the records take.
func (c *Records) Bytes() int64 { return c.bytes }
