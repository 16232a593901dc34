package cassandra

import (
	"context"
	"encoding/binary"
	"sync"
	"time"
)

// spanKey is a time in which there are rows: a day of pings, or an hour of points of a name.
// Without a list of them a query had to ask for each day that there ever was.
type spanKey struct {
	name  string // spanPings, or the name of points
	start int64  // ms
}

// spanPings is the name of the spans of pings. No point has such a name.
const spanPings = "#pings"

// spanOf returns the span of the rows of a partition.
func spanOf(r *mutation) (spanKey, error) {
	before := pingTS
	if r.table == &pointTable {
		before = pointHour
	}
	front, rest, err := head(r.rows[0], before)
	if err != nil || len(rest) < 2+8 {
		return spanKey{}, errForeignRow
	}
	at := int64(binary.BigEndian.Uint64(rest[2:]))
	if r.table == &pointTable {
		return spanKey{string(front[2:]), at}, nil
	}
	return spanKey{spanPings, floorTo(at, milliPerDay)}, nil
}

// spanCache is the spans that were written lately. One is written again now and then, since
// it is deleted by its age as rows are.
type spanCache struct {
	mu      sync.Mutex // guards written; nothing else is locked under it
	written map[spanKey]time.Time
}

// mostSpans bounds the spans that are remembered.
const mostSpans = 10_000

func (c *spanCache) has(s spanKey, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.written[s]
	return ok && now.Sub(at) < spanFresh && !now.Before(at)
}

func (c *spanCache) add(s spanKey, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == nil || len(c.written) >= mostSpans {
		c.written = make(map[spanKey]time.Time)
	}
	c.written[s] = now
}

func (c *spanCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = nil
}

// writeSpans writes spans before their rows, so that no row is stored that a query would not
// find.
func (k *Keyspace) writeSpans(ctx context.Context, l *link, list []spanKey) error {
	for _, s := range list {
		now := time.Now()
		if k.spans.has(s, now) {
			continue
		}
		err := l.session.Query(spanTable.insert(k.to.keyspace, len(spanTable.columns)), s.name, time.UnixMilli(s.start)).WithTimestamp(stamp()).ExecContext(ctx)
		if err != nil {
			return err
		}
		k.spans.add(s, now)
	}
	return nil
}

// readSpans returns the starts of spans within [from, to], in order.
func (k *Keyspace) readSpans(ctx context.Context, l *link, name string, from, to int64) (starts []int64, err error) {
	scan := l.session.Query("SELECT start FROM "+k.to.keyspace+".spans WHERE name = ? AND start >= ? AND start <= ?", name, time.UnixMilli(from), time.UnixMilli(to)).IterContext(ctx)
	var at int64
	for scan.Scan(&at) {
		starts = append(starts, at)
	}
	return starts, scan.Close()
}
