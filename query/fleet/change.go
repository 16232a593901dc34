package fleet

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/partition"
)

// Most items of a viewport. A viewport with more is told that there are too many, and
// none of them.
const (
	ViewRiders = 25_000
	ViewCells  = 10_000
)

// View is a viewport, and the layers that are looked at in it.
type View struct {
	Look
	Box partition.Box // valid
}

// Delta is what changed in a view since an earlier snapshot, as keys of riders and
// cells: what changed or came, and what left or is not shown any more. A key stands for a
// rider's track, or for a cell, until the key is gone. The memory of its lists is used
// again.
type Delta struct {
	ID   string // of the snapshot, and of the view
	At   int64  // when the change was found, ms since 1970
	Full bool   // this is all there is, as the earlier snapshot is not known

	Riders, RidersGone []uint32
	Cells, CellsGone   []uint32

	RidersOver bool // there are more riders than ViewRiders: none is told of
	CellsOver  bool // the same for cells, or some cells of the globe are not known
	Partial    bool // riders or cells of other nodes are missing, or are told of as they were

	ridersSince, cellsSince uint32
	listed                  bool // the list being appended is not empty
}

// BeginList begins a list for AppendRiders or AppendCells, which append it in parts.
func (c *Delta) BeginList() { c.listed = false }

// comma appends a comma unless the list is empty so far.
func (c *Delta) comma(dst []byte) []byte {
	if c.listed {
		return append(dst, ',')
	}
	c.listed = true
	return dst
}

// MostBytes is the most memory of the lists of a Delta.
const MostBytes = 2 * 4 * (ViewRiders + ViewCells) * 5 / 4

// Bytes returns the memory of the lists of c.
func (c *Delta) Bytes() int64 {
	return 4 * int64(cap(c.Riders)+cap(c.RidersGone)+cap(c.Cells)+cap(c.CellsGone))
}

// Marks at the end of an id: the parts that were over in its snapshot.
const (
	markRiders = "r"
	markCells  = "c"
)

// idOf returns the id of the last snapshot of a view, without marks.
func (f *Map) idOf(v *View, seq uint32) string {
	h := fnv.New32a()
	for _, edge := range [...]float64{v.Box.West, v.Box.South, v.Box.East, v.Box.North} {
		_, _ = h.Write(strconv.AppendFloat(nil, edge, 'g', -1, 64)) // never fails
		_, _ = h.Write([]byte{','})
	}
	_, _ = h.Write([]byte(strconv.Itoa(v.Res) + strconv.FormatBool(v.Riders)))
	return strings.Join([]string{strconv.FormatUint(f.start, 36), strconv.FormatUint(uint64(seq), 36), strconv.FormatUint(uint64(h.Sum32()), 36)}, ".")
}

// sinceOf sets the snapshots from which c goes on: that of an id of the view, or before
// all if it is not known any more.
func (c *Delta) sinceOf(f *Map, v *View, id string) {
	c.Full, c.ridersSince, c.cellsSince = true, 0, 0
	parts := strings.Split(id, ".")
	if len(parts) < 3 {
		return
	}
	seq, err := strconv.ParseUint(parts[1], 36, 32)
	if err != nil || uint32(seq) > f.made || strings.Join(parts[:3], ".") != f.idOf(v, uint32(seq)) {
		return
	}
	since := uint32(seq)
	if v.Riders && since < f.grid.oldest {
		return
	}
	if l := f.layers[v.Res]; v.Res >= 0 && (l == nil || since < l.grid.oldest) {
		return
	}
	c.Full, c.ridersSince, c.cellsSince = false, since, since
	for _, mark := range parts[3:] {
		switch mark {
		case markRiders:
			c.ridersSince = 0
		case markCells:
			c.cellsSince = 0
		}
	}
}

// Change sets c to what changed in a view since the snapshot of an id, or to all there is.
// Refresh has made a snapshot of what is looked at.
func (f *Map) Change(c *Delta, v *View, since string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	c.sinceOf(f, v, since)
	c.At = time.Now().UnixMilli()
	c.Riders, c.RidersGone, c.Cells, c.CellsGone = c.Riders[:0], c.RidersGone[:0], c.Cells[:0], c.CellsGone[:0]
	c.RidersOver, c.CellsOver, c.Partial = false, false, v.Riders && f.partial
	c.ID = f.idOf(v, f.made)
	if v.Riders {
		at := ViewportOf(v.Box, 0)
		c.Riders, c.RidersGone, c.RidersOver = f.grid.change(c.Riders, c.RidersGone, &at, c.ridersSince, ViewRiders)
		if c.RidersOver {
			c.ID += "." + markRiders
		}
	}
	if l := f.layers[v.Res]; v.Res >= 0 && l != nil {
		at := ViewportOf(v.Box, l.radius)
		c.Cells, c.CellsGone, c.CellsOver = l.grid.change(c.Cells, c.CellsGone, &at, c.cellsSince, ViewCells)
		if c.CellsOver {
			c.ID += "." + markCells
		}
		c.CellsOver = c.CellsOver || l.over
		c.Partial = c.Partial || l.partial
	}
}

// change appends the changes in a viewport since a snapshot, 0 for all there is; or
// reports that the viewport holds more than most, or that more than most are gone, and
// appends nothing.
func (g *grid) change(came, gone []uint32, v *Viewport, since uint32, most int) (_, _ []uint32, over bool) {
	if g.shown(v, most) > most {
		return came, gone, true
	}
	came = g.gather(came, v, since, false, most)
	if since > 0 {
		gone = g.absent(gone, v, since)
		if len(gone) > most { // told in the next event, by all there is
			return came[:0], gone[:0], true
		}
	}
	return came, gone, false
}

// None reports whether nothing changed.
func (c *Delta) None() bool {
	return !c.Full && len(c.Riders)+len(c.RidersGone)+len(c.Cells)+len(c.CellsGone) == 0
}

// AppendRiders appends some riders of c, as they are now, as JSON: a list for each, with
// commas between. Riders that c tells of for the first time have their names at the end.
//
//	[key,ts,lat,lon,speed,heading,stale]
//	[key,ts,lat,lon,speed,heading,stale,"rider","device"]
func (f *Map) AppendRiders(dst []byte, c *Delta, keys []uint32) []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, key := range keys {
		if key > f.rows.Last {
			continue // the tracks were numbered anew; all is told in the next event
		}
		r := f.rows.At(key)
		dst = strconv.AppendUint(append(c.comma(dst), '['), uint64(key), 10)
		dst = strconv.AppendInt(append(dst, ','), r.fix.At, 10)
		dst = appendDegrees(append(dst, ','), r.fix.LatE7)
		dst = appendDegrees(append(dst, ','), r.fix.LonE7)
		dst = appendTenths(append(dst, ','), r.fix.Speed, r.fix.Has(pingline.HasSpeed))
		dst = appendTenths(append(dst, ','), r.fix.Heading, r.fix.Has(pingline.HasHeading))
		if r.stale {
			dst = append(dst, ",1"...)
		} else {
			dst = append(dst, ",0"...)
		}
		if f.grid.items.At(key).entered > c.ridersSince {
			rider, device := dedupe.RiderDevice(*f.names.At(key))
			dst = appendText(append(dst, ','), rider)
			if device != "" {
				dst = appendText(append(dst, ','), device)
			}
		}
		dst = append(dst, ']')
	}
	return dst
}

// AppendCells appends some cells of c, as they are now, as JSON: a list for each, with commas
// between. Cells that c tells of for the first time have their index at the end.
//
//	[key,from,window_s,pings,riders,moving,waiting,speed_mean,speed_max]
//	[key,from,window_s,pings,riders,moving,waiting,speed_mean,speed_max,"cell"]
func (f *Map) AppendCells(dst []byte, c *Delta, v *View, keys []uint32) []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	l := f.layers[v.Res]
	if l == nil {
		return dst
	}
	for _, key := range keys {
		if key > l.rows.Last {
			continue
		}
		a := l.rows.At(key)
		dst = strconv.AppendUint(append(c.comma(dst), '['), uint64(key), 10)
		for _, v := range [...]int64{a.From, a.WindowS, int64(a.Pings), int64(a.Riders), int64(a.Moving), int64(a.Waiting)} {
			dst = strconv.AppendInt(append(dst, ','), v, 10)
		}
		dst = appendTenths(append(dst, ','), float32(a.SpeedMean), true)
		dst = appendTenths(append(dst, ','), float32(a.SpeedMax), true)
		if l.grid.items.At(key).entered > c.cellsSince {
			dst = append(strconv.AppendUint(append(dst, `,"`...), a.Cell, 16), '"')
		}
		dst = append(dst, ']')
	}
	return dst
}

// AppendKeys appends keys as JSON, with commas between.
func AppendKeys(dst []byte, keys []uint32) []byte {
	for n, key := range keys {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(key), 10)
	}
	return dst
}

// appendDegrees appends a latitude or longitude to a millionth of a degree, 0.1 m.
func appendDegrees(dst []byte, v int32) []byte {
	n := int64(v)
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	n = (n + 5) / 10
	dst = append(strconv.AppendInt(dst, n/1e6, 10), '.')
	part := n % 1e6
	for unit := int64(1e5); unit > part && unit > 1; unit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, part, 10)
}

// appendTenths appends a number, not below 0, to a tenth.
func appendTenths(dst []byte, v float32, known bool) []byte {
	if !known || !(v >= 0 && v < 1e9) {
		return append(dst, "null"...)
	}
	n := int64(float64(v)*10 + 0.5)
	dst = strconv.AppendInt(dst, n/10, 10)
	if n%10 != 0 {
		dst = append(dst, '.', byte('0'+n%10))
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(dst, `""`...) // cannot happen: a string has a form in JSON
	}
	return append(dst, text...)
}
