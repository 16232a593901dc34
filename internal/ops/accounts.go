package ops

import (
	"pingline/ingest/server"
	"pingline/partition"
)

// account is a part of the process whose memory grows with what comes in.
type account struct {
	name  string
	bytes int64 // it takes
	most  int64 // it may take; docs/self.md says what happens there
}

// accounts are all that grow with what comes in: what is in none of them is a
// fault. The rest of the heap is of fixed size.
func (p *Parts) accounts(b *Books) []account {
	cells := 1
	list := []account{
		{"requests", b.Server.InProgress, b.Server.MaxInProgress},
		{"reads", b.Server.Reading, b.Server.MaxReading},
		{"connections", b.Server.Connections * server.ConnectionBytes, b.Server.MaxConnections * server.ConnectionBytes},
		{"filter", b.Writer.FilterBytes, p.FilterMost},
		{"log", p.Log.CacheBytes(), p.LogCache},
		{"sink", p.Sink.Memory(), p.SinkMost},
	}
	if p.Rollup != nil {
		list, cells = append(list, account{"rollup", p.Rollup.Stats().Bytes, p.RollupMost}), 2
	}
	// What is known of cells may be forgotten at any time, and is not counted.
	places := int64(partition.MaxKeysMemory + cells*partition.MaxCellsMemory)
	return append(list, account{"cells", places, places})
}
