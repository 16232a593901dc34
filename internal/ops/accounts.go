package ops

import (
	"pingline/partition"
)

// account is a part of the process whose memory grows with the pings.
type account struct {
	name  string
	bytes int64 // bytes that it takes
	most  int64 // bytes that it may take; docs/self.md tells how the limit acts
}

// accounts are all parts that grow with the pings: growth outside them is a
// fault. The rest of the heap is of fixed size.
func (p *Parts) accounts(b *Books) []account {
	cells := 1
	list := []account{
		{"requests", b.Server.InProgress, b.Server.MaxInProgress},
		{"reads", b.Server.Reading, b.Server.MaxReading},
		{"connections", b.Server.Connections * b.Server.ConnectionBytes, b.Server.MaxConnections * b.Server.ConnectionBytes},
		{"filter", b.Writer.FilterBytes, p.FilterMost},
		{"log", p.Log.CacheBytes(), p.LogCache},
		{"sink", p.Sink.Memory(), p.SinkMost()},
		{"fleet", p.Fleet() + p.Streams.Stats().Bytes, p.FleetMost},
	}
	if p.Rollup != nil {
		bytes := p.Rollup.Stats().Bytes
		if p.Merged != nil {
			if m := p.Merged(); m != nil {
				bytes += m.Bytes
			}
		}
		list, cells = append(list, account{"rollup", bytes, p.RollupMost}), 2
	}
	// The state of cells may be forgotten at any time, and is not counted.
	places := int64(partition.MaxKeysMemory + cells*partition.MaxCellsMemory)
	return append(list, account{"cells", places, places})
}
