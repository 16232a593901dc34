package gather

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
)

// The question for the newest pings is
//
//	uvarint last track of the part before, 0 for the first; uvarint stamp since which pings count
//
// and the answer
//
//	uvarint number of the filter; uvarint stamp; uvarint last track of this part, 0 at the end
//	varint  ms since 1970, from which times count
//	uvarint number of pings; of each
//	    uvarint tracks behind the one before
//	    uvarint length; text: name of the track
//	    varint  ms; i32 lat; i32 lon, 1e-7 degree
//	    u8      bits of the numbers that are known, and corrected; f32 of each number that is known
const (
	corrected = 1 << 7
	leastPing = 1 + 1 + 1 + 1 + 8 + 1
)

// The limits of an answer: it is on its way within the asker's patience, though the writer waits for a commit between
// each two thousand pings.
const (
	mostNewest = 16 << 10
	tellFor    = 60 * time.Millisecond
	mostTracks = 64 << 20 // numbers of tracks: a number takes memory of the asker
)

// Others returns functions that ask the owners of the other parts for their newest pings, as ingest.Writer.NewestPings
// does. Each is for one goroutine. Names share the memory of an answer. The number of a filter is another after a rider
// was removed, so that the rider is forgotten here, too.
func (g *Gatherer) Others() (list []func(*ingest.NewestPings) error) {
	g.others(func(part int) {
		var buf []byte
		list = append(list, func(n *ingest.NewestPings) error {
			question := binary.AppendUvarint(binary.AppendUvarint([]byte{form, askNewest}, uint64(n.Track)), n.Since)
			d, err := g.ask(part, question, buf)
			if err == nil {
				buf = d.b
				err = readNewest(&d, n, part, g.cfg.Parts)
			}
			g.note(part, err)
			return err
		})
	})
	return list
}

// tellNewest tells of the pings of this node.
func (g *Gatherer) tellNewest(d *reader, dst []byte) ([]byte, error) {
	track, since := d.uvarint(), d.uvarint()
	if d.bad || d.left() > 0 || track > math.MaxUint32 {
		return nil, errors.New("a question for the newest pings that cannot be read")
	}
	began, epoch := time.Now(), g.start+g.erased.Load()
	n := g.scans.Get().(*ingest.NewestPings)
	defer g.scans.Put(n)
	n.Track, n.Since = uint32(track), since
	var filter, stamp uint64
	var pings []byte
	count, last, at, next := 0, uint32(track), began.UnixMilli(), uint32(track)
	for first := true; first || next != 0 && count < mostNewest && time.Since(began) < tellFor; first = false {
		if err := g.cfg.Newest(n); err != nil {
			return nil, err
		}
		if first {
			filter, stamp = n.Filter, n.Stamp
		} else if n.Filter != filter {
			break // the next question meets the tracks that are numbered anew
		}
		for i := range n.List {
			p := &n.List[i]
			pings, last = appendNewest(pings, p, last, at), p.Track
		}
		count, next = count+len(n.List), n.Track
	}
	clear(n.List[:cap(n.List)]) // names
	dst = binary.AppendUvarint(dst, filter+epoch)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, stamp), uint64(next))
	dst = binary.AppendUvarint(binary.AppendVarint(dst, at), uint64(count))
	return append(dst, pings...), nil
}

func appendNewest(dst []byte, n *dedupe.Newest, last uint32, at int64) []byte {
	f := &n.Fix
	dst = appendString(binary.AppendUvarint(dst, uint64(n.Track-last)), n.Name)
	dst = binary.AppendVarint(dst, f.At-at)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.LatE7))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.LonE7))
	flags := byte(f.Known)
	if f.Corrected {
		flags |= corrected
	}
	dst = append(dst, flags)
	for i, v := range f.Numbers() {
		if f.Has(1 << i) {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst
}

// readNewest reads an answer of the owner of a part.
func readNewest(d *reader, n *ingest.NewestPings, part, parts int) error {
	filter, stamp, next, at, count := d.uvarint(), d.uvarint(), d.uvarint(), d.varint(), d.uvarint()
	if d.bad || next > mostTracks || count > uint64(d.left()/leastPing) || next != 0 && next <= uint64(n.Track) {
		return garbled(part)
	}
	list, last := n.List[:0], uint64(n.Track)
	for range count {
		step := d.uvarint()
		last += step
		p := dedupe.Newest{Track: uint32(last), Name: d.string()}
		p.Fix = readFix(d, at)
		rider, _ := dedupe.RiderDevice(p.Name)
		if d.bad || step == 0 || last > mostTracks || !onGlobe(&p.Fix) || partition.Part(rider, parts) != part {
			return garbled(part)
		}
		list = append(list, p)
	}
	if d.left() > 0 {
		return garbled(part)
	}
	n.Filter, n.Stamp, n.Track, n.List = filter, stamp, uint32(next), list
	return nil
}

func readFix(d *reader, at int64) (f pingline.Fix) {
	f.At, f.LatE7, f.LonE7 = at+d.varint(), int32(d.u32()), int32(d.u32())
	flags := d.u8()
	f.Known, f.Corrected = pingline.Known(flags&^corrected), flags&corrected != 0
	for i := range f.Numbers() {
		if f.Has(1 << i) {
			f.Numbers()[i] = d.f32()
		}
	}
	d.bad = d.bad || f.Known>>len(pingline.Numbers) != 0
	return f
}

func onGlobe(f *pingline.Fix) bool {
	return math.Abs(f.Lat()) <= 90 && math.Abs(f.Lon()) <= 180
}

// Forget has erase forget a rider, and the other nodes, too.
func (g *Gatherer) Forget(erase func(rider string)) func(rider string) {
	return func(rider string) {
		erase(rider)
		g.erased.Add(1)
	}
}
