package pingline

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// Verdict is the fate of a ping.
type Verdict uint8

// The verdicts. Only Accepted, Held and Redundant reach the log.
const (
	Accepted  Verdict = iota + 1 // stored as it is
	Held                         // in the log; the next ping of its track decides
	Redundant                    // within the bound of what is stored
	Duplicate                    // seen before
	Shed                         // valid, dropped on purpose
	Rejected                     // invalid

	Verdicts = int(Rejected) + 1 // size of an array indexed by Verdict
)

var verdictNames = [Verdicts]string{"none", "accepted", "held", "redundant", "duplicate", "shed", "rejected"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Entry is a ping in the log, with all that was decided about it when it was
// judged, or a Point, or a ready line. Every reader decides by the entry alone.
//
// A ping that a store refused and that was put back is an entry of kind Replayed:
// it is to be stored, and was judged before.
type Entry struct {
	Ping
	Cell     uint64  // H3 cell that becomes the tag; 0 if none
	Skipped  uint32  // pings of the track dropped since its last stored one
	SubKey   uint16  // part of the partition key, as package partition chose it; 0 if the cell is not split
	Verdict  Verdict // Accepted, Held or Redundant
	Promoted bool    // a ping held earlier, now stored (Verdict is Accepted)
	Late     bool    // stored out of order: readers do not interpolate by it
	Apart    bool    // stored beside the track's point of its ms, at a ns of its own: see Nano
	State    uint8   // the filter's note of which of its states took the ping

	Kind EntryKind // Judged, or which other kind of entry it is
	To   string    // shard it goes to; "" leaves that to its kind; never set if Judged

	// Point is set in a point, which has it, Kind and To only. Next and DecodeEntry
	// decode into the memory of the point that they left in the same Entry before:
	// Clone one that is to last.
	Point *Point

	// Line is set in a ready line, which has it, Kind and To only: a row that the log
	// holds as text. Version 3 of a commit holds replayed rows as such only if their
	// pings are not known. It is line protocol without newline, of 1–MaxReadyLine
	// bytes; its timestamp is in ms, but of ReplayedNano in ns.
	Line string

	spare *Point // memory for the next point
}

// Equal reports whether e and o say the same.
func (e *Entry) Equal(o *Entry) bool {
	if (e.Point == nil) != (o.Point == nil) || e.Point != nil && !e.Point.Equal(o.Point) {
		return false
	}
	a, b := *e, *o
	a.Point, a.spare, b.Point, b.spare = nil, nil, nil, nil
	return a == b
}

// EntryKind tells entries apart by where they come from.
type EntryKind uint8

// The kinds of entries.
const (
	Judged       EntryKind = iota // a ping, as the filter has judged it
	Replayed                      // a ping refused by a store before, to be stored after all
	Activity                      // a total of the roll-up: a point, or a ready line
	Self                          // a count of the node itself: a point, or a ready line
	ReplayedNano                  // as Replayed: a ready line in ns

	lineKinds = iota
)

// Replayed reports whether entries of this kind are pings refused before.
func (k EntryKind) Replayed() bool { return k == Replayed || k == ReplayedNano }

// LineTime returns the time of a ready line, ms, and false if it has none.
func (e *Entry) LineTime() (ms int64, ok bool) {
	line := strings.TrimRight(e.Line, " \r")
	i := strings.LastIndexByte(line, ' ')
	at, err := strconv.ParseInt(line[i+1:], 10, 64)
	if i < 0 || err != nil {
		return 0, false
	}
	if e.Kind == ReplayedNano {
		at = FloorMilli(at)
	}
	return at, true
}

// MaxReadyLine bounds a ready line, in bytes.
const MaxReadyLine = 4 << 10

// IsLine reports whether the entry is a ready line.
func (e *Entry) IsLine() bool { return e.Line != "" }

// StoredAt returns the time of a row that is to be stored, ms: of the ping, the
// point, or the ready line. It returns false for a ready line without a time.
func (e *Entry) StoredAt() (ms int64, ok bool) {
	switch {
	case e.IsLine():
		return e.LineTime()
	case e.Point != nil:
		return e.Point.At, true
	}
	return e.At, true
}

// Stored reports whether the entry is a ping that is to be written to the store.
func (e *Entry) Stored() bool { return e.Verdict == Accepted || e.Kind.Replayed() }

// CommitHeader holds the facts that all entries of one commit share.
type CommitHeader struct {
	Node        string  // who wrote it, at most 255 bytes
	At          int64   // ms since 1970, writer's clock
	MaxError    float32 // bound in force, metres
	AccuracyCap float32 // cap on a fix's own accuracy as its bound, metres
	Entries     uint32  // how many entries follow
}

// A commit is, little endian:
//
//	u8  version (3, or 4)
//	u32 number of entries
//	i64 At
//	f32 MaxError
//	f32 AccuracyCap
//	u8  length of Node, then Node
//	entries
//
// and an entry:
//
//	u8  bits 0–1 verdict, 2 promoted, 3 late, 4 device, 5 event, 6 trip, 7 extra
//	u8  bits 0–4 known numbers, 5 cell, 6 apart, 7 replayed
//	u8  state
//	u8  length, shard, if replayed
//	u8  length, rider; then, if flagged, device, event, trip in the same form
//	varint (zigzag) commit's At − At
//	i32 latitude, i32 longitude, 1e-7 degree
//	f32 each known number, in the order of their bits
//	uvarint packed cell, if flagged; u64 cell behind it if it could not be packed
//	uvarint sub-key, and 1<<16 more if corrected; uvarint skipped; if extra
//
// or a point:
//
//	u8  bits 0–1 zero, 2–7 kind: 5 activity, 6 self
//	u8  length, shard
//	uvarint length, name
//	varint (zigzag) commit's At − At
//	u8  number of tags; of each uvarint length, key; uvarint length, value
//	u8  number of fields; of each uvarint length, key; u8 type, and by type
//	    1 varint (zigzag)   integer
//	    2 f64               float
//	    3 uvarint length    text
//	    4 u8                bool, 0 or 1
//
// or a ready line:
//
//	u8  bits 0–1 zero, 2–7 kind: 1 replayed, 2 activity, 3 self, 4 replayed in ns
//	u8  length, shard
//	uvarint length, line
//
// Each varint takes as few bytes as it can, so that an entry has one form only.
// Number and checksum of a commit are the log's business.
//
// Version 4 is written only where a time was corrected: whoever corrects none can go
// back to a program of before. Version 2 is the same as 3 without replayed pings and points: it has ready lines in
// their place. Version 1 is version 2 without apart and without lines in ns: a late
// ping of such a log is stored at its ms again.
const (
	commitVersion    = 3
	correctedVersion = 4
	oldestVersion    = 1
	commitHeaderSize = 1 + 4 + 8 + 4 + 4 + 1

	flagPromoted = 1 << 2
	flagLate     = 1 << 3
	flagDevice   = 1 << 4
	flagEvent    = 1 << 5
	flagTrip     = 1 << 6
	flagExtra    = 1 << 7

	flagCell     = 1 << 5
	flagApart    = 1 << 6
	flagReplayed = 1 << 7

	corrected = 1 << 16 // of the sub-key

	// Kinds of points in the log: those of ready lines, and pointKinds more.
	pointKinds = 3
)

// MaxEntrySize bounds the encoded size of one valid ping that was judged, in
// bytes. One that is replayed takes 1+MaxName more.
const MaxEntrySize = 3 + 3*(1+MaxID) + 1 + MaxEvent + 10 + 8 + 5*4 + 10 + 3 + 5

// The sizes of a ping and of a ready line that say as little as they can.
const (
	minPingSize  = 3 + 1 + 1 + 1 + 8
	minEntrySize = 1 + 1 + 1 + 1
)

// AppendCommitHeader appends h's binary form to dst. SetCommitEntries writes
// the number of entries once it is known.
func AppendCommitHeader(dst []byte, h *CommitHeader) []byte {
	node := h.Node[:min(len(h.Node), 255)]
	dst = append(dst, commitVersion)
	dst = binary.LittleEndian.AppendUint32(dst, h.Entries)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.At))
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(h.MaxError))
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(h.AccuracyCap))
	dst = append(dst, byte(len(node)))
	return append(dst, node...)
}

// SetCommitEntries sets the number of entries in a commit that starts at b[0].
func SetCommitEntries(b []byte, n uint32) { binary.LittleEndian.PutUint32(b[1:], n) }

// SetCommitCorrected says of a commit that starts at b[0] that it has an entry whose
// time was corrected.
func SetCommitCorrected(b []byte) { b[0] = correctedVersion }

// AppendEntry appends e's binary form to dst; at is the At of its commit. The
// entry's names must be valid; any number is that SetOptional and SetPosition accept.
func AppendEntry(dst []byte, e *Entry, at int64) []byte {
	switch {
	case e.IsLine():
		return appendText(appendName(append(dst, byte(e.Kind)<<2), e.To), e.Line)
	case e.Point != nil:
		return e.Point.append(appendName(append(dst, byte(e.Kind+pointKinds)<<2), e.To), at)
	}
	flags, more := byte(e.Verdict&3), byte(e.Known&knownMask)
	for _, f := range [...]struct {
		on  bool
		bit byte
	}{
		{e.Promoted, flagPromoted},
		{e.Late, flagLate},
		{e.Device != "", flagDevice},
		{e.Event != "", flagEvent},
		{e.Trip != "", flagTrip},
		{e.SubKey != 0 || e.Skipped != 0 || e.Corrected, flagExtra},
	} {
		if f.on {
			flags |= f.bit
		}
	}
	if e.Cell != 0 {
		more |= flagCell
	}
	if e.Apart {
		more |= flagApart
	}
	if e.Kind == Replayed {
		dst = appendName(append(dst, flags, more|flagReplayed, e.State), e.To)
	} else {
		dst = append(dst, flags, more, e.State)
	}
	dst = appendName(dst, e.Rider)
	for _, s := range [...]string{e.Device, e.Event, e.Trip} {
		if s != "" {
			dst = appendName(dst, s)
		}
	}
	dst = binary.AppendVarint(dst, at-e.At)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.LatE7))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.LonE7))
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) != 0 {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	if e.Cell != 0 {
		dst = appendCell(dst, e.Cell)
	}
	if flags&flagExtra != 0 {
		sub := uint64(e.SubKey)
		if e.Corrected {
			sub |= corrected
		}
		dst = binary.AppendUvarint(dst, sub)
		dst = binary.AppendUvarint(dst, uint64(e.Skipped))
	}
	return dst
}

func appendName(dst []byte, s string) []byte {
	return append(append(dst, byte(len(s))), s...)
}

// An H3 cell index is 64 bits: 1 reserved, 4 mode (1), 3 reserved, 4
// resolution, 7 base cell, 15 digits of 3 bits, those beyond the resolution 7.
// Packed it is base cell and used digits, then 4 bits of resolution, so that a
// cell of resolution 5 takes four bytes. Resolution 15, where no digit is unused,
// is not packed, and neither is a number of another form: they are unpackable.
const unpackable = 15

func packCell(c uint64) uint64 {
	res := c >> 52 & 15
	unused := 45 - 3*res
	if c>>56 != 8 || res == 15 || c&(1<<unused-1) != 1<<unused-1 {
		return unpackable
	}
	return c&(1<<52-1)>>unused<<4 | res
}

func unpackCell(p uint64) uint64 {
	res := p & 15
	unused := 45 - 3*res
	return 8<<56 | res<<52 | p>>4<<unused&(1<<52-1) | (1<<unused - 1)
}

func appendCell(dst []byte, c uint64) []byte {
	p := packCell(c)
	dst = binary.AppendUvarint(dst, p)
	if p == unpackable {
		dst = binary.LittleEndian.AppendUint64(dst, c)
	}
	return dst
}

// Entries reads the entries of a commit in order.
type Entries struct {
	b    []byte
	at   int64
	left uint32
	sub  uint64 // as large as a sub-key may be, of this version
}

// DecodeCommit returns a commit's header and its entries. The header's and the
// entries' strings share b's memory: b must not change while they are in use.
// It returns an error wrapping ErrCorrupt, or ErrNewer.
func DecodeCommit(b []byte) (CommitHeader, Entries, error) {
	if len(b) < commitHeaderSize {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of %d bytes: %w", len(b), ErrCorrupt)
	}
	if b[0] > correctedVersion {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of version %d, this program knows %d to %d: %w", b[0], oldestVersion, correctedVersion, ErrNewer)
	}
	if b[0] < oldestVersion {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of version %d, not in [%d, %d]: %w", b[0], oldestVersion, correctedVersion, ErrCorrupt)
	}
	h := CommitHeader{
		Entries:     binary.LittleEndian.Uint32(b[1:]),
		At:          int64(binary.LittleEndian.Uint64(b[5:])),
		MaxError:    math.Float32frombits(binary.LittleEndian.Uint32(b[13:])),
		AccuracyCap: math.Float32frombits(binary.LittleEndian.Uint32(b[17:])),
	}
	d := decoder{b: b[commitHeaderSize-1:]}
	h.Node = d.name()
	if d.bad {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit header: %w", ErrCorrupt)
	}
	if uint64(h.Entries)*minEntrySize > uint64(len(d.b)) {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of %d entries in %d bytes: %w", h.Entries, len(d.b), ErrCorrupt)
	}
	sub := uint64(math.MaxUint16)
	if b[0] >= correctedVersion {
		sub |= corrected
	}
	return h, Entries{b: d.b, at: h.At, left: h.Entries, sub: sub}, nil
}

// Len returns how many entries are left. It is never more than the commit's
// bytes have room for.
func (r *Entries) Len() int { return int(r.left) }

// Next decodes the next entry into e and reports whether there was one. After
// the last it returns false and nil, or an error wrapping ErrCorrupt if bytes
// are left over.
func (r *Entries) Next(e *Entry) (bool, error) {
	if r.left == 0 {
		if len(r.b) != 0 {
			return false, fmt.Errorf("%d bytes behind the last entry: %w", len(r.b), ErrCorrupt)
		}
		return false, nil
	}
	d := decoder{b: r.b, sub: r.sub}
	d.entry(e, r.at)
	if d.bad {
		return false, fmt.Errorf("entry, %d before the end: %w", r.left, ErrCorrupt)
	}
	r.b = d.b
	r.left--
	return true, nil
}

// Rest returns how many bytes of the commit are behind the last entry that Next
// returned: the next one begins so many before its end.
func (r *Entries) Rest() int { return len(r.b) }

// DecodeEntry decodes the entry at the start of b, whatever is behind it, of a
// commit with that At, and returns its length in bytes. Its strings share b's
// memory. It returns an error wrapping ErrCorrupt.
func DecodeEntry(e *Entry, b []byte, at int64) (n int, err error) {
	d := decoder{b: b, sub: corrected | math.MaxUint16}
	d.entry(e, at)
	if d.bad {
		return 0, fmt.Errorf("entry in %d bytes: %w", len(b), ErrCorrupt)
	}
	return len(b) - len(d.b), nil
}

// decoder takes values off the front of b; once bad, it gives zeros.
type decoder struct {
	b   []byte
	sub uint64 // as large as a sub-key may be
	bad bool
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.b, d.bad = nil, true
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte     { return d.take(1)[0] }
func (d *decoder) u32() uint32  { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *decoder) f32() float32 { return math.Float32frombits(d.u32()) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 { // cut off, too large, or longer than need be
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) cell() uint64 {
	p := d.uvarint()
	var c uint64
	if p == unpackable {
		c = binary.LittleEndian.Uint64(d.take(8))
	} else {
		c = unpackCell(p)
	}
	d.bad = d.bad || c == 0 || packCell(c) != p
	return c
}

func (d *decoder) name() string { return d.str(uint64(d.u8())) }
func (d *decoder) text() string { return d.str(d.uvarint()) }

func (d *decoder) str(n uint64) string {
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return ""
	}
	s := unsafe.String(unsafe.SliceData(d.b), int(n))
	d.b = d.b[n:]
	return s
}

func (d *decoder) entry(e *Entry, at int64) {
	*e = Entry{spare: e.spare}
	flags := d.u8()
	if flags&3 == 0 {
		d.notPing(e, flags>>2, at)
		return
	}
	more := d.u8()
	e.State = d.u8()
	e.Verdict = Verdict(flags & 3)
	e.Promoted, e.Late, e.Apart = flags&flagPromoted != 0, flags&flagLate != 0, more&flagApart != 0
	if more&flagReplayed != 0 {
		e.Kind, e.To = Replayed, d.name()
	}
	e.Rider = d.name()
	for _, s := range [...]struct {
		flag byte
		dst  *string
	}{{flagDevice, &e.Device}, {flagEvent, &e.Event}, {flagTrip, &e.Trip}} {
		if flags&s.flag != 0 {
			*s.dst = d.name()
			d.bad = d.bad || *s.dst == ""
		}
	}
	e.At = at - d.varint()
	e.LatE7, e.LonE7 = int32(d.u32()), int32(d.u32())
	e.Known = Known(more & knownMask)
	values := e.Numbers()
	for i := range values {
		if e.Known&(1<<i) != 0 {
			values[i] = d.f32()
		}
	}
	if more&flagCell != 0 {
		e.Cell = d.cell()
	}
	if flags&flagExtra != 0 {
		sub, skipped := d.uvarint(), d.uvarint()
		d.bad = d.bad || sub > d.sub || skipped > math.MaxUint32 || sub|skipped == 0
		e.SubKey, e.Skipped, e.Corrected = uint16(sub), uint32(skipped), sub&corrected != 0
	}
	d.bad = d.bad || e.Rider == ""
}

// notPing decodes a point or a ready line, behind its first byte.
func (d *decoder) notPing(e *Entry, kind byte, at int64) {
	e.To = d.name()
	switch {
	case kind >= byte(Replayed) && kind < lineKinds:
		e.Kind = EntryKind(kind)
		e.Line = d.text()
		d.bad = d.bad || e.Line == "" || len(e.Line) > MaxReadyLine
	case kind == byte(Activity+pointKinds), kind == byte(Self+pointKinds):
		e.Kind = EntryKind(kind - pointKinds)
		if e.spare == nil {
			e.spare = new(Point)
		}
		e.Point = e.spare
		d.point(e.Point, at)
	default:
		d.b, d.bad = nil, true
	}
}

// The places of a commit's running totals.
const (
	TotalStored = 0 // entries that are Stored: what is to reach the store
	TotalPings  = 1 // pings judged accepted, held or redundant: pings but promotions
	TotalLines  = 2 // points, and ready lines that are not Stored
)
