package dedupe

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// A checkpoint is the filter's state in pieces, taken one at a time between
// commits, so that judging never stops for longer than a piece takes. A piece
// stands at the last commit before it was taken; Replay of the log from the first
// piece's commit on brings all pieces to the same state.
//
// A piece is, little endian:
//
//	u8  version (7, or 6 if no ping has had attributes)
//	u32 number of the piece, from 0
//	u8  1 in the last piece
//	u64 commit it stands at
//	i64 the first vertex of a new track must be later, ms
//	i64 the vertex with which a broken track begins anew must be later, ms
//	u64 stamp of the last logged ping
//	u32, u32 number of tracks known with one ping, and with more
//	u32 number of tracks, then the tracks
//	u32 CRC-32C of all before
//
// and a track:
//
//	name: rider, device, trip of the newest ping, each u8 length and bytes
//	u8  flags: 1 broken, 2 a ping is held, 4 a backlog is open, 8 the oldest point
//	    is the track's first vertex, 16 other devices of the rider were forgotten,
//	    32 the track has had one ping only, 64 it has a state of attributes
//	u64 stamp, u32 skipped, u8 pace
//	i64 base of the points, or the track's floor if it has none; points: u8 number, then u32, u32, i32 each
//	u16 number of blocks; each: points, from the oldest block on
//	u16 number of blocks of marks; each: points
//	i64 a first vertex of the rider's devices must be later, ms, if 16
//	line, if a ping is held
//	backlog, if open: start and end (i64, i32, i32 each), trip, line, u8 1 if
//	    anchored at the end, f64 bound of the held ping, u8 pace
//	state of attributes, as package carried has it, if 64
//
// and a line: u8 1 if crowded, the held fix (i64, 2 i32, 5 f32, u8 known), u64
// cell, u16 sub-key, 16 f32 polygon.
//
// In version 5 a track without points is broken, it has no floor, and the limit of
// new tracks is the limit of broken tracks, too. Version 4 also lacks the numbers of
// tracks known and flag 32. In version 3, besides, the trip of a track is the trip of
// its held ping, if there is one. Version 2 also lacks flag 16. Version 1 also lacks
// flag 8 and the pace of a track, and a backlog ends with its line.
const (
	pieceVersion = 7
	pieceHeader  = 1 + 4 + 1 + 8 + 8 + 8 + 8 + 4 + 4 + 4
	oldHeader    = pieceHeader - 8 - 4 - 4 // before version 5
	pieceTracks  = 1024

	flagBroken  = 1
	flagHolds   = 2
	flagBacklog = 4
	flagWhole   = 8
	flagDevices = 16
	flagOnce    = 32
	flagAttrs   = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is a checkpoint being taken.
type Snapshot struct {
	f      *Filter
	piece  uint32
	track  uint32 // the last track taken
	tracks uint32 // most tracks in a piece
}

// Snapshot begins a checkpoint of f. It holds no memory, and may be dropped
// unfinished.
func (f *Filter) Snapshot() *Snapshot {
	f.endLoad()
	return &Snapshot{f: f, tracks: pieceTracks}
}

// Next appends the next piece to dst and reports whether more are to come. Number is
// the number of the last commit that the filter has judged; every entry that the filter
// has put out must be in the log.
func (s *Snapshot) Next(dst []byte, number uint64) (piece []byte, more bool) {
	f, start := s.f, len(dst)
	dst = append(dst, make([]byte, pieceHeader)...)
	tracks := uint32(0)
	end := min(s.track+s.tracks, f.tracks.Last)
	for ; s.track < end; s.track++ {
		if f.tracks.At(s.track + 1).used {
			dst = f.appendTrack(dst, s.track+1)
			tracks++
		}
	}
	more = s.track < f.tracks.Last
	h := dst[start:]
	h[0] = pieceVersion - oneIf(f.carried.Empty())
	binary.LittleEndian.PutUint32(h[1:], s.piece)
	if !more {
		h[5] = 1
	}
	binary.LittleEndian.PutUint64(h[6:], number)
	binary.LittleEndian.PutUint64(h[14:], uint64(f.forgot.Said))
	binary.LittleEndian.PutUint64(h[22:], uint64(f.torn.Said))
	binary.LittleEndian.PutUint64(h[30:], f.order.stamp)
	binary.LittleEndian.PutUint32(h[38:], uint32(f.order.once.n))
	binary.LittleEndian.PutUint32(h[42:], uint32(f.order.often.n))
	binary.LittleEndian.PutUint32(h[46:], tracks)
	s.piece++
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(h, castagnoli)), more
}

func (f *Filter) appendTrack(dst []byte, i uint32) []byte {
	t, n := f.tracks.At(i), f.names.At(i)
	rider, device := RiderDevice(n.key)
	flags := oneIf(t.broken)*flagBroken | oneIf(t.holds)*flagHolds | oneIf(t.backlog != 0)*flagBacklog |
		oneIf(t.Whole)*flagWhole | oneIf(t.once)*flagOnce | oneIf(f.carried.Has(i))*flagAttrs
	forgot := int64(math.MinInt64)
	if device != "" {
		forgot = f.devices[rider].forgot
	}
	if forgot != math.MinInt64 {
		flags |= flagDevices
	}
	for _, s := range [...]string{rider, device, n.trip} {
		dst = append(append(dst, byte(len(s))), s...)
	}
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, f.order.At(i).stamp)
	dst = append(binary.LittleEndian.AppendUint32(dst, t.skipped), t.pace)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.savedBase(t)))
	dst = vertices.AppendPoints(dst, t.Points[:t.N])
	dst = f.blocks.AppendChain(dst, t.Top)
	dst = f.blocks.AppendChain(dst, t.marks)
	if flags&flagDevices != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(forgot))
	}
	if t.holds {
		dst = appendLine(dst, &t.line)
	}
	if t.backlog != 0 {
		s := f.backlogs.At(t.backlog)
		dst = appendSpot(appendSpot(dst, s.start), s.end)
		dst = append(append(dst, byte(len(s.trip))), s.trip...)
		dst = append(appendLine(dst, &s.line), oneIf(s.toEnd))
		dst = append(binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.eps)), s.pace)
	}
	if flags&flagAttrs != 0 {
		dst = f.carried.Append(dst, i)
	}
	return dst
}

func oneIf(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendSpot(dst []byte, s plane.Spot) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.At))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Lat))
	return binary.LittleEndian.AppendUint32(dst, uint32(s.Lon))
}

func appendLine(dst []byte, l *line) []byte {
	dst = appendSpot(append(dst, oneIf(l.crowded)), plane.SpotOf(&l.fix))
	for _, v := range l.fix.Numbers() {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	dst = append(dst, byte(l.fix.Known))
	dst = binary.LittleEndian.AppendUint64(dst, l.cell)
	dst = binary.LittleEndian.AppendUint16(dst, l.subKey)
	for _, side := range [...]*[plane.Directions]float32{&l.poly.Below, &l.poly.Above} {
		for _, v := range side {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst
}

// Load restores a piece of a checkpoint. An empty filter takes all pieces of a
// checkpoint in order, before anything else, and then by Replay every entry of the
// commits after the commit at which the first piece stands. An error wraps
// pingline.ErrCorrupt or pingline.ErrNewer; the filter must then be thrown away.
func (f *Filter) Load(piece []byte) error {
	if len(piece) < oldHeader+4 || piece[0] < 1 {
		return fmt.Errorf("dedupe: %d bytes are no piece of a checkpoint of version 1 to %d: %w", len(piece), pieceVersion, pingline.ErrCorrupt)
	}
	body, sum := piece[:len(piece)-4], binary.LittleEndian.Uint32(piece[len(piece)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return fmt.Errorf("dedupe: piece of a checkpoint has a wrong checksum: %w", pingline.ErrCorrupt)
	}
	if piece[0] > pieceVersion {
		return fmt.Errorf("dedupe: piece of version %d, this program knows %d: %w", piece[0], pieceVersion, pingline.ErrNewer)
	}
	if f.loading == nil {
		if f.order.stamp != 0 {
			return fmt.Errorf("dedupe: a checkpoint loaded into a filter in use")
		}
		f.loading = &loading{once: -1, often: -1}
	}
	l, d := f.loading, &stateDecoder{b: body[1:]}
	n, last, number := d.u32(), d.u8(), d.u64()
	if n != l.pieces || l.last || number < l.highest {
		return fmt.Errorf("dedupe: piece %d of a checkpoint in place of piece %d: %w", n, l.pieces, pingline.ErrCorrupt)
	}
	l.pieces, l.last, l.highest = n+1, last == 1, number
	forgot := int64(d.u64())
	torn := forgot
	if piece[0] >= 6 {
		torn = int64(d.u64())
	}
	f.forgot.Raise(forgot, forgot)
	f.torn.Raise(torn, torn)
	f.latest = max(f.latest, forgot, torn)
	if stamp := d.u64(); n == 0 {
		f.order.stamp = stamp
	}
	if piece[0] >= 5 {
		l.once, l.often = int(d.u32()), int(d.u32())
	}
	for range d.u32() {
		if f.loadTrack(d, number, piece[0]); d.bad {
			break
		}
	}
	if d.bad || len(d.b) != 0 {
		return fmt.Errorf("dedupe: piece %d of a checkpoint: %w", n, pingline.ErrCorrupt)
	}
	return nil
}

// loadTrack restores a track, in place of an older state of it.
func (f *Filter) loadTrack(d *stateDecoder, number uint64, version byte) {
	rider, device, trip := d.name(), d.name(), d.name()
	d.bad = d.bad || rider == ""
	if d.bad {
		return
	}
	hash := f.hash(rider, device)
	if i := f.lookup(hash, rider, device); i != 0 {
		f.drop(i)
	}
	i := f.create(hash, rider, device, false)
	l := f.loading
	for int(i) >= len(l.at) {
		l.at = append(l.at, 0)
	}
	l.at[i] = number
	t := f.tracks.At(i)
	f.names.At(i).trip = trip
	f.text += textBytes(trip)
	flags := d.u8()
	t.broken, t.once = flags&flagBroken != 0, flags&flagOnce != 0
	f.order.At(i).stamp = d.u64()
	t.skipped = d.u32()
	if version > 1 {
		t.pace = d.u8()
	}
	t.Base = int64(d.u64())
	t.N = uint8(d.points(t.Points[:]))
	t.Whole = flags&flagWhole != 0 && t.N > 0
	f.loadChain(d, i, &t.Top, false)
	f.loadChain(d, i, &t.marks, true)
	if flags&flagDevices != 0 && device != "" {
		of := f.devices[rider]
		of.forgot = max(of.forgot, int64(d.u64()))
		f.devices[rider] = of
	}
	if t.N > 0 {
		t.open(t.Last())
	} else if version < 6 {
		t.Base = f.forgot.Said
		d.bad = d.bad || !t.broken
	}
	d.bad = d.bad || t.N == 0 && (t.Top != 0 || !t.broken && flags&(flagHolds|flagBacklog) != 0) || !f.blocks.InOrder(&t.Recent)
	if flags&flagHolds != 0 {
		f.loadLine(d, i, &t.line, version)
		d.bad = d.bad || t.N > 0 && t.fix.At <= t.Last().At
	}
	if flags&flagBacklog != 0 {
		f.loadBacklog(d, i, version)
	}
	if flags&flagAttrs != 0 {
		d.bad = !f.carried.Load(i, d.take) || d.bad
	}
}

// loadBacklog restores a backlog. In version 1 the bound of the held ping is not
// known: it will be stored.
func (f *Filter) loadBacklog(d *stateDecoder, i uint32, version byte) {
	t := f.tracks.At(i)
	f.openBacklog(t, d.spot(), d.spot())
	s := f.backlogs.At(t.backlog)
	s.trip = d.name()
	f.text += textBytes(s.trip)
	f.loadLine(d, i, &s.line, version)
	s.eps = noLine
	if version > 1 {
		s.toEnd, s.eps, s.pace = d.u8() == 1, math.Float64frombits(d.u64()), d.u8()
	}
	anchor, _ := s.ends()
	if s.crowded {
		s.frame = plane.FrameAt(anchor.Lat)
	}
	d.bad = d.bad || s.start != s.end && !s.covers(s.fix.At) || s.crowded && anchor == longAgo
	d.bad = d.bad || s.start == longAgo && (s.crowded && !s.toEnd) || !(s.eps >= noLine && s.eps <= maxBound) || s.pace > 64 || t.pace > 64
}

// loadChain restores a chain of blocks; beyond the room there is, the oldest are lost.
func (f *Filter) loadChain(d *stateDecoder, i uint32, top *uint32, marks bool) {
	t := f.tracks.At(i)
	for range d.u16() {
		var some [vertices.InBlock]vertices.Packed
		n := d.points(some[:])
		if d.bad || n == 0 || t.Beyond > vertices.Most {
			d.bad = true
			return
		}
		if !f.blocks.Restore(i, top, some[:n], marks) && !marks {
			t.Whole = false
		}
	}
}

// loadLine restores a line. Before version 4 the trip of the held ping may be on no
// stored ping, so the held ping will be stored.
func (f *Filter) loadLine(d *stateDecoder, i uint32, l *line, version byte) {
	l.crowded = d.u8() == 1
	s := d.spot()
	l.fix = pingline.Fix{At: s.At, LatE7: s.Lat, LonE7: s.Lon}
	numbers := l.fix.Numbers()
	for i := range numbers {
		numbers[i] = d.f32()
	}
	l.fix.Known = pingline.Known(d.u8())
	l.cell, l.subKey = d.u64(), d.u16()
	for _, side := range [...]*[plane.Directions]float32{&l.poly.Below, &l.poly.Above} {
		for k := range side {
			side[k] = d.f32()
		}
	}
	if version < 4 {
		l.poly.Narrow(plane.Vec{}, noLine, 1)
	}
	l.holds = true
	f.holding++
	f.watch(i, 0)
}
