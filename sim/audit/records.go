package audit

import (
	"cmp"
	"slices"

	"pingline"
)

// auditRecord is a ping of a ledger, or a point read back to be compared with it:
// what must be stored as it was sent, and what was answered. 56 bytes.
type auditRecord struct {
	at       int64 // ms since 1970
	lat, lon int32 // 1e-7 degree
	numbers  [5]float32
	bound    float32 // metres: the larger of max_error and min(accuracy, accuracy_cap)
	track    uint32
	answered uint32 // when, s since 1970; 0: not known
	event    uint16 // 0: none
	known    pingline.Known
	verdict  pingline.Verdict // 0: not answered; of a point: 0, or as below

	elsewhere bool // an accepted ping that is not stored at its own time
}

const (
	latePoint      = pingline.Verdict(0xff)
	correctedPoint = pingline.Verdict(0xfe) // late as well: its ts is the ingester's guess
)

// newRecord returns a record without a track, whose event is known by number.
func newRecord(p *pingline.Ping, event uint16) auditRecord {
	return auditRecord{at: p.At, lat: p.LatE7, lon: p.LonE7, known: p.Known, event: event, numbers: *p.Numbers()}
}

// boundOf returns the bound of a ping, metres.
func boundOf(p *pingline.Ping, maxError, accuracyCap float32) float32 {
	if p.Has(pingline.HasAccuracy) {
		return max(maxError, min(p.Accuracy, accuracyCap))
	}
	return maxError
}

// eventIDs are numbers for the names of events. Names beyond the first 65,534 share
// one: an audit cannot tell those apart.
type eventIDs map[string]uint16

const maxEvents = 1<<16 - 1

func (ids eventIDs) eventID(name string) uint16 {
	if name == "" {
		return 0
	}
	id, ok := ids[name]
	if !ok {
		if len(ids) >= maxEvents-1 {
			return maxEvents
		}
		id = uint16(len(ids) + 1)
		ids[name] = id
	}
	return id
}

func (r *auditRecord) samePlace(q *auditRecord) bool { return r.lat == q.lat && r.lon == q.lon }

// samePing reports whether both are of one ping, of a track's moment.
func (r *auditRecord) samePing(q *auditRecord) bool { return r.samePlace(q) && r.event == q.event }

// storedAs reports whether a point shows that r is stored.
func (r *auditRecord) storedAs(point *auditRecord) bool {
	return r.samePlace(point) && (r.event == 0 || r.event == point.event)
}

// same reports whether both say the same of a moment.
func (r *auditRecord) same(q *auditRecord) bool {
	return r.samePlace(q) && r.known == q.known && r.numbers == q.numbers && r.event == q.event
}

// name returns the name of an event; "" if it is not known.
func (ids eventIDs) name(id uint16) string {
	for name, i := range ids {
		if i == id {
			return name
		}
	}
	return ""
}

const recordsChunk = 1 << 13

// records is a list that grows without being copied.
type records struct {
	chunks [][]auditRecord // all but the last hold recordsChunk
	spare  [][]auditRecord // empty ones
}

func (r *records) add(v auditRecord) {
	if r.len()%recordsChunk == 0 {
		r.grow()
	}
	last := &r.chunks[len(r.chunks)-1]
	*last = append(*last, v)
}

func (r *records) grow() {
	if n := len(r.spare); n > 0 {
		r.chunks, r.spare = append(r.chunks, r.spare[n-1]), r.spare[:n-1]
		return
	}
	r.chunks = append(r.chunks, make([]auditRecord, 0, recordsChunk))
}

func (r *records) len() int {
	if len(r.chunks) == 0 {
		return 0
	}
	return (len(r.chunks)-1)*recordsChunk + len(r.chunks[len(r.chunks)-1])
}

func (r *records) at(i uint32) *auditRecord { return &r.chunks[i/recordsChunk][i%recordsChunk] }

// clear empties r and keeps its memory.
func (r *records) clear() {
	for i := range r.chunks {
		r.spare = append(r.spare, r.chunks[i][:0])
	}
	r.chunks = r.chunks[:0]
}

// byTrack is an index of records: those of each track in order of time, late
// points behind others, and otherwise in the order in which they were added.
type byTrack struct {
	*records
	index []uint32
	ends  []uint32 // of each track's part of the index
}

func (r *records) byTrack(tracks int) byTrack {
	b := byTrack{r, make([]uint32, r.len()), make([]uint32, tracks)}
	for _, c := range r.chunks {
		for i := range c {
			b.ends[c[i].track]++
		}
	}
	var sum uint32
	for t, n := range b.ends {
		b.ends[t] = sum // its start for now
		sum += n
	}
	for i := range uint32(r.len()) {
		t := r.at(i).track
		b.index[b.ends[t]] = i
		b.ends[t]++
	}
	return b
}

// track returns copies of the records of a track, in order, in dst's memory.
func (b *byTrack) track(dst []auditRecord, t int) []auditRecord {
	start := uint32(0)
	if t > 0 {
		start = b.ends[t-1]
	}
	dst = dst[:0]
	for _, i := range b.index[start:b.ends[t]] {
		dst = append(dst, *b.at(i))
	}
	slices.SortStableFunc(dst, func(a, b auditRecord) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(late(&a), late(&b))
	})
	return dst
}

func late(r *auditRecord) int {
	if r.verdict == latePoint || r.verdict == correctedPoint {
		return 1
	}
	return 0
}
