// Package tally counts pings as the roll-up must, and holds the totals that are stored
// against that.
//
// It promises that a total passes only if it is the sum of the pings of its cell and
// window, or lies between the sums that are possible where an answer leaves it open.
// Cells are those of H3 itself. It shares no code with the roll-up.
package tally

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/internal/unit"
	"pingline/partition"
	"pingline/sim/audit/spill"
)

// ReadTotals calls each for every stored point of a name with from <= At < to, ms since
// 1970, in any order and until each fails; the point is good for one call. PointsNamed
// of a store.PointReader is one.
type ReadTotals func(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error) error

// RollupReport is the result of an audit of the totals of the roll-up, of each cell,
// window and resolution one.
type RollupReport struct {
	Checked   uint64 `json:"checked"`             // totals that were held against pings
	Wrong     uint64 `json:"wrong"`               // of them, and of those that are not there: not what the pings add up to
	Open      uint64 `json:"open"`                // totals that may still be written: their windows had not closed
	Withheld  uint64 `json:"withheld"`            // totals that the ingester need not have written, as it gave up some of its work
	Unchecked string `json:"unchecked,omitempty"` // why none was looked at
}

// totalsName is the name of the points of the roll-up.
const totalsName = "cell_activity"

const (
	hourMilli   = 3600 * 1000
	tallySlack  = 10_000 // ms that clocks of sender and ingester may differ by
	exactRiders = 6000   // beyond, riders are estimated
	tallyParts  = 64
)

// stage is a resolution and a length of window.
type stage struct {
	res    int
	window int64 // ms
}

// Config sets up a Recount. Read and Example are required.
type Config struct {
	Read     ReadTotals
	Finest   int              // resolution of the roll-up; 0 means 8
	Lateness time.Duration    // how long windows of the roll-up are open; 0 means 2 min
	Now      func() time.Time // says which windows have closed; nil means time.Now
	Dir      string           // for files; "" means that for temporary files

	First, Last int64   // ts of the pings, ms since 1970
	Until       int64   // pings are known that were answered up to here, ms since 1970
	Strain      *Strain // of the ingester, meanwhile

	Example func(of string, at int64, reason string) // takes note of a total that is not right
}

// Recount counts pings as the roll-up must, and holds its totals against that. All is in
// files, by time: a part has the whole of each of its windows. Not safe for concurrent
// use.
type Recount struct {
	cfg     Config
	report  *RollupReport
	cells   partition.Cells
	stages  []stage
	longest int64            // window, ms
	least   int64            // window, ms
	totals  *spill.PartFiles // by part
	counted *spill.PartFiles // by part
	seed    maphash.Seed
	record  []byte
}

// New reads the totals of the time of the pings. If none can be checked it returns a nil
// Recount, and the report says why.
func New(ctx context.Context, cfg Config) (*Recount, *RollupReport, error) {
	cfg.Finest, cfg.Lateness = cmp.Or(cfg.Finest, 8), cmp.Or(cfg.Lateness, 2*time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := &Recount{cfg: cfg, report: new(RollupReport), seed: maphash.MakeSeed()}
	raw, err := spill.New(cfg.Dir, 1)
	if err != nil {
		return nil, nil, err
	}
	err = t.read(ctx, raw)
	if err == nil && t.report.Unchecked == "" {
		err = t.divide(raw)
	}
	if err = errors.Join(err, raw.Close()); err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	if t.report.Unchecked != "" {
		return nil, t.report, nil
	}
	return t, t.report, nil
}

// Close removes its files. A nil Recount has none.
func (t *Recount) Close() error {
	if t == nil {
		return nil
	}
	return errors.Join(t.totals.Close(), t.counted.Close())
}

// read puts the totals into one file and learns the stages.
func (t *Recount) read(ctx context.Context, raw *spill.PartFiles) error {
	finest := t.cfg.Finest
	err := t.cfg.Read(ctx, totalsName, t.cfg.First-hourMilli, t.cfg.Last+1, func(p *pingline.Point) error {
		total, err := t.totalOf(p)
		if err != nil {
			t.wrong(tagsText(p.Tags), p.At, err.Error())
			return nil
		}
		if !slices.Contains(t.stages, total.stage) {
			t.stages = append(t.stages, total.stage)
			finest = max(finest, total.res)
		}
		t.record = total.append(t.record[:0])
		return raw.Put(0, t.record)
	})
	if err != nil {
		return err
	}
	if len(t.stages) == 0 {
		t.report.Unchecked = "none is stored"
		return nil
	}
	slices.SortFunc(t.stages, func(a, b stage) int { return cmp.Or(cmp.Compare(a.window, b.window), cmp.Compare(b.res, a.res)) })
	t.least, t.longest = t.stages[0].window, t.stages[len(t.stages)-1].window
	for _, s := range t.stages {
		if t.longest%s.window != 0 {
			t.report.Unchecked = fmt.Sprintf("windows of %d ms are no part of those of %d ms", s.window, t.longest)
		}
	}
	t.cells, err = partition.NewCells(finest)
	return err
}

func tagsText(tags []pingline.Tag) string {
	list := make([]string, len(tags))
	for i := range tags {
		list[i] = tags[i].Key + " " + tags[i].Value
	}
	return strings.Join(list, ", ")
}

// divide puts the totals of raw into parts.
func (t *Recount) divide(raw *spill.PartFiles) (err error) {
	if t.totals, err = spill.New(t.cfg.Dir, tallyParts); err != nil {
		return err
	}
	if t.counted, err = spill.New(t.cfg.Dir, tallyParts); err != nil {
		return err
	}
	return raw.Each(0, totalSize, func(b []byte) error {
		return t.totals.Put(t.part(decodeTotal(b).at), b)
	})
}

// part returns the part of a time.
func (t *Recount) part(at int64) int {
	return int(uint64(floorTo(at, t.longest)/t.longest) * 0x9e3779b97f4a7c15 >> 58)
}

func floorTo(at, length int64) int64 {
	if rest := at % length; rest < 0 {
		return at - rest - length
	} else {
		return at - rest
	}
}

// cellTotal is a total as it is stored.
type cellTotal struct {
	stage
	cell, node            uint64 // of node a hash
	at                    int64
	pings, riders, moving int64
	waiting               int64
}

const totalSize = 9 * 8

func (t *Recount) totalOf(p *pingline.Point) (total cellTotal, err error) {
	total.at = p.At
	for i := range p.Tags {
		value := p.Tags[i].Value
		switch p.Tags[i].Key {
		case "cell":
			total.cell, err = partition.ParseCell(value)
		case "node":
			total.node = maphash.String(t.seed, value)
		case "res":
			total.res, err = strconv.Atoi(value)
		case "window":
			var d time.Duration
			d, err = time.ParseDuration(value)
			total.window = d.Milliseconds()
		}
		if err != nil {
			return total, err
		}
	}
	for i := range p.Fields {
		f := &p.Fields[i]
		if to := map[string]*int64{"pings": &total.pings, "riders": &total.riders, "moving": &total.moving, "waiting": &total.waiting}[f.Key]; to != nil {
			*to = f.Int()
		}
	}
	switch {
	case total.cell == 0 || total.window <= 0 || total.res != partition.Res(total.cell):
		return total, errors.New("a total of no cell, window or resolution")
	case total.moving+total.waiting != total.riders:
		return total, fmt.Errorf("%d riders, but %d moving and %d waiting", total.riders, total.moving, total.waiting)
	}
	return total, nil
}

func (c *cellTotal) append(dst []byte) []byte {
	for _, v := range [...]uint64{uint64(c.res), uint64(c.window), c.cell, c.node, uint64(c.at), uint64(c.pings), uint64(c.riders), uint64(c.moving), uint64(c.waiting)} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

func decodeTotal(b []byte) cellTotal {
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	return cellTotal{
		stage: stage{int(at(0)), at(1)}, cell: uint64(at(2)), node: uint64(at(3)),
		at: at(4), pings: at(5), riders: at(6), moving: at(7), waiting: at(8),
	}
}

// cellPing is a ping as the roll-up must have counted it: at least min times and at
// most max times.
type cellPing struct {
	cell, rider uint64
	at          int64
	min, max    uint32
}

const pingSize = 3*8 + 2*4

func (c *cellPing) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, c.cell)
	dst = binary.LittleEndian.AppendUint64(dst, c.rider)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.at))
	dst = binary.LittleEndian.AppendUint32(dst, c.min)
	return binary.LittleEndian.AppendUint32(dst, c.max)
}

func decodeCellPing(b []byte) cellPing {
	le := binary.LittleEndian
	return cellPing{le.Uint64(b), le.Uint64(b[8:]), int64(le.Uint64(b[16:])), le.Uint32(b[24:]), le.Uint32(b[28:])}
}

// Count says that a ping of a rider, at a position in 1e-7 degree, must have been counted
// at a time, at least and at most so often. Times are ms since 1970; answered is 0 if it
// is not known. A nil Recount counts nothing.
func (t *Recount) Count(rider string, lat, lon int32, at, answered int64, least, most int) error {
	if t == nil || most == 0 || at < t.cfg.First || at > t.cfg.Last {
		return nil
	}
	if answered != 0 && answered >= floorTo(at, t.least)+t.least+t.lateness()-tallySlack {
		least = 0 // it may have come too late
	}
	fix := pingline.Fix{LatE7: lat, LonE7: lon}
	if math.Abs(fix.Lat()) > 90 || math.Abs(fix.Lon()) > 180 {
		return nil
	}
	c := cellPing{cell: t.cells.Exact(&fix), rider: maphash.String(t.seed, rider), at: at, min: uint32(least), max: uint32(most)}
	t.record = c.append(t.record[:0])
	return t.counted.Put(t.part(at), t.record)
}

func (t *Recount) lateness() int64 { return t.cfg.Lateness.Milliseconds() }

// wrong takes note of a total that is not right.
func (t *Recount) wrong(what string, at int64, reason string) {
	t.report.Wrong++
	t.cfg.Example(what, at, reason)
}

// Compare holds all totals against the pings that were counted. Others is how many
// points others have stored meanwhile: then nothing can be told. A nil Recount has nothing
// to compare.
func (t *Recount) Compare(ctx context.Context, others uint64) error {
	if t == nil {
		return nil
	}
	if others > 0 {
		t.report.Unchecked = "others send as well, " + unit.Plural(others, "point is", "points are") + " of other tracks"
		return nil
	}
	now := t.cfg.Now().UnixMilli()
	for i := range tallyParts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.comparePart(i, now); err != nil {
			return err
		}
	}
	return nil
}

func (t *Recount) comparePart(i int, now int64) error {
	var totals []cellTotal
	var pings []cellPing
	err := t.totals.Each(i, totalSize, func(b []byte) error { totals = append(totals, decodeTotal(b)); return nil })
	if err == nil {
		err = t.counted.Each(i, pingSize, func(b []byte) error { pings = append(pings, decodeCellPing(b)); return nil })
	}
	if err != nil {
		return err
	}
	slices.SortFunc(totals, func(a, b cellTotal) int {
		return cmp.Or(cmp.Compare(a.window, b.window), cmp.Compare(a.res, b.res), cmp.Compare(a.cell, b.cell), cmp.Compare(a.at, b.at),
			cmp.Compare(a.node, b.node), cmp.Compare(b.pings, a.pings))
	})
	scratch := make([]cellPing, 0, len(pings))
	for _, s := range t.stages {
		mine := totals[:0:0]
		for i := range totals {
			if totals[i].stage == s {
				mine = append(mine, totals[i])
			}
		}
		scratch = scratch[:0]
		for _, p := range pings {
			p.cell, p.at = partition.Parent(p.cell, s.res), floorTo(p.at, s.window)
			scratch = append(scratch, p)
		}
		slices.SortFunc(scratch, func(a, b cellPing) int {
			return cmp.Or(cmp.Compare(a.cell, b.cell), cmp.Compare(a.at, b.at), cmp.Compare(a.rider, b.rider))
		})
		t.compareStage(s, now, mine, scratch)
	}
	return nil
}
