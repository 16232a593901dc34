package queue

import (
	"pingline/queue/cursor"
	"pingline/queue/record"
)

// Record is an append, with its number and the running totals before and after it.
// Package record has its form on disk.
type Record = record.Record

// Totals are the running totals that a caller of Append keeps.
type Totals = record.Totals

// Cursor is a position in the log: the number of the record to read next, and the totals
// before it.
type Cursor = cursor.Cursor

// Change is a set of changes to the cursors and notes of the log. They are kept together or
// not at all.
type Change = cursor.Change

// Pin keeps the records from a number on from being trimmed while they are copied.
type Pin = cursor.Pin

// Positions are the cursors and notes of a log at a moment.
type Positions = cursor.Positions
