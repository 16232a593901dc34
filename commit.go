package pingline

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// CommitHeader holds the facts that all entries of one commit share.
type CommitHeader struct {
	Node        string  // name of the node that wrote the commit, at most 255 bytes
	At          int64   // ms since 1970, writer's clock
	MaxError    float32 // bound in force, metres
	AccuracyCap float32 // cap on a fix's own accuracy as its bound, metres
	Entries     uint32  // number of entries that follow
}

// A commit is, little endian:
//
//	u8  version (3, 4 or 5)
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
//	uvarint sub-key, and 1<<16 more if corrected, 1<<17 more if it has attributes;
//	    uvarint skipped; if extra
//	uvarint length, Attrs, if flagged
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
// Each varint takes as few bytes as it can, so that an entry has a single form.
// The log adds the number and the checksum of a commit.
//
// Version 5 is written only for a commit with attributes, and version 4 only for a commit
// with a corrected time and without attributes, so that a node without such pings can go
// back to an older program. Version 2 is version 3 with
// ready lines in place of replayed pings and points. Version 1 is version 2 without
// apart and without lines in ns: a late ping of it is stored at its ms again.
const (
	commitVersion    = 3
	correctedVersion = 4
	attrsVersion     = 5
	newestVersion    = attrsVersion
	oldestVersion    = 1
	commitHeaderSize = 1 + 4 + 8 + 4 + 4 + 1

	flagPromoted = 1 << 2
	flagLate     = 1 << 3
	flagDevice   = 1 << 4
	flagEvent    = 1 << 5
	flagTrip     = 1 << 6
	flagExtra    = 1 << 7
	flagNames    = flagDevice | flagEvent | flagTrip

	flagCell     = 1 << 5
	flagApart    = 1 << 6
	flagReplayed = 1 << 7

	corrected = 1 << 16 // of the sub-key
	withAttrs = 1 << 17 // of the sub-key

	// In the log, the kind of a point is the kind of a ready line, plus pointKinds.
	pointKinds = 3
)

// MaxEntrySize bounds the encoded size of a valid, judged ping without attributes, in
// bytes. A replayed ping takes 1+MaxName more, and attributes 2 bytes more than their length.
const MaxEntrySize = 3 + 3*(1+MaxID) + 1 + MaxEvent + 10 + 8 + 5*4 + 10 + 3 + 5

// The sizes of the shortest ping and the shortest ready line, in bytes.
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

// CommitForm is the version of the commit that an entry needs. The zero value is that of
// most entries.
type CommitForm byte

// Form returns the form that a commit with e has at least.
func (e *Entry) Form() CommitForm {
	switch {
	case e.Attrs != "":
		return attrsVersion
	case e.Corrected:
		return correctedVersion
	}
	return 0
}

// SetCommitForm marks a commit that starts at b[0] with the greatest form of its entries.
func SetCommitForm(b []byte, form CommitForm) { b[0] = max(commitVersion, byte(form)) }

// AppendEntry appends e's binary form to dst; at is the At of its commit. The
// entry's names must be valid, and its numbers within the ranges of SetOptional and
// SetPosition.
func AppendEntry(dst []byte, e *Entry, at int64) []byte {
	switch {
	case e.IsLine():
		return appendText(appendName(append(dst, byte(e.Kind)<<2), e.To), e.Line)
	case e.Point != nil:
		return appendPoint(appendName(append(dst, byte(e.Kind+pointKinds)<<2), e.To), e.Point, at)
	}
	flags, more := byte(e.Verdict&3), byte(e.Known&knownMask)
	extra := e.SubKey != 0 || e.Skipped != 0 || e.Corrected || e.Attrs != ""
	flags |= bit(e.Promoted)*flagPromoted | bit(e.Late)*flagLate | bit(extra)*flagExtra
	flags |= bit(e.Device != "")*flagDevice | bit(e.Event != "")*flagEvent | bit(e.Trip != "")*flagTrip
	more |= bit(e.Cell != 0)*flagCell | bit(e.Apart)*flagApart
	if e.Kind == Replayed {
		dst = appendName(append(dst, flags, more|flagReplayed, e.State), e.To)
	} else {
		dst = append(dst, flags, more, e.State)
	}
	dst = appendName(dst, e.Rider)
	if flags&flagNames != 0 {
		for _, s := range [...]string{e.Device, e.Event, e.Trip} {
			if s != "" {
				dst = appendName(dst, s)
			}
		}
	}
	dst = binary.AppendVarint(dst, at-e.At)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(uint32(e.LatE7))|uint64(uint32(e.LonE7))<<32)
	values := e.Numbers()
	for k := uint8(e.Known & knownMask); k != 0; k &= k - 1 {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(values[bits.TrailingZeros8(k)]))
	}
	if e.Cell != 0 {
		dst = appendCell(dst, e.Cell)
	}
	if extra {
		sub := uint64(e.SubKey)
		if e.Corrected {
			sub |= corrected
		}
		if e.Attrs != "" {
			sub |= withAttrs
		}
		dst = binary.AppendUvarint(dst, sub)
		dst = binary.AppendUvarint(dst, uint64(e.Skipped))
		if e.Attrs != "" {
			dst = appendText(dst, string(e.Attrs))
		}
	}
	return dst
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendName(dst []byte, s string) []byte {
	return append(append(dst, byte(len(s))), s...)
}

// An H3 cell index is 64 bits: 1 reserved, 4 mode (1), 3 reserved, 4
// resolution, 7 base cell, 15 digits of 3 bits; digits beyond the resolution are 7.
// Packed, a cell is its base cell and used digits, then 4 bits of resolution, so that
// a cell of resolution 5 takes four bytes. A cell of resolution 15, where no digit is
// unused, is not packed, nor is a number that is no cell: both are unpackable.
const unpackable = 15

func packCell(c uint64) uint64 {
	res := c >> 52 & 15
	unused := 45 - 3*res
	if c>>56 != 8 || res == 15 || c&(1<<unused-1) != 1<<unused-1 {
		return unpackable
	}
	return c&(1<<52-1)>>unused<<4 | res
}

// packed reports whether a number is a cell that packCell has packed.
func packed(p uint64) bool {
	res := p & 15
	return res != unpackable && p>>4>>(7+3*res) == 0 // a base cell, and digits
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
