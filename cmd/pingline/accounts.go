package main

import (
	"pingline/dedupe"
	"pingline/ingest/server"
	"pingline/partition"
)

// Memory that parts are given.
const (
	logCache   = 32 << 20 // the log's newest records
	sinkMemory = 64 << 20 // batches: see sink.Config.BatchMemory
)

// account is a part of the process whose memory grows with what comes in.
type account struct {
	name  string
	bytes int64 // it takes
	most  int64 // it may take; docs/self.md says what happens there
}

// accounts are all that grow with what comes in: what is in none of them is a
// fault. The rest of the heap is of fixed size.
func (s *service) accounts(b *books) []account {
	cells := 1
	list := []account{
		{"requests", b.server.InProgress, b.server.MaxInProgress},
		{"reads", b.server.Reading, b.server.MaxReading},
		{"connections", b.server.Connections * server.ConnectionBytes, b.server.MaxConnections * server.ConnectionBytes},
		{"filter", b.writer.FilterBytes, dedupe.MaxBytes(s.cfg.Filter.config())},
		{"log", s.log.CacheBytes(), logCache},
		{"sink", s.sink.Memory(), 3*sinkMemory + 1<<20},
	}
	if s.rollup != nil {
		list, cells = append(list, account{"rollup", s.rollup.Stats().Bytes, rollupMemory()}), 2
	}
	// What is known of cells may be forgotten at any time, and is not counted.
	places := int64(partition.MaxKeysMemory + cells*partition.MaxCellsMemory)
	return append(list, account{"cells", places, places})
}
