package queue

import "pingline/queue/record"

// Record is an append, with its number and the running totals before and after it.
// Package record has its form on disk.
type Record = record.Record

// Totals are the running totals that a caller of Append keeps.
type Totals = record.Totals
