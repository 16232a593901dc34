package clickhouse

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	"pingline"
)

// columnBlock is the memory of a write: the columns of both tables, and their form on the wire.
type columnBlock struct {
	pings  *pingColumns
	points *pointColumns
	lines  []int // numbers of the rows that are ready lines
	entry  pingline.Entry

	wire   proto.Buffer
	packed []byte
	lz4    *compress.Writer
}

func newBlock() *columnBlock {
	return &columnBlock{pings: newPingColumns(), points: newPointColumns(), lz4: compress.NewWriter(compress.LevelZero, compress.LZ4)}
}

// fill takes rows apart into columns.
func (b *columnBlock) fill(rows []byte, version uint64) error {
	b.pings.reset()
	b.points.reset()
	b.lines = b.lines[:0]
	for i := 0; len(rows) > 0; i++ {
		kind, row, rest, err := cutRow(rows)
		if err != nil {
			return err
		}
		switch kind {
		case rowPing:
			b.pings.add(row, version)
		case rowPoint:
			if _, err := pingline.DecodeEntry(&b.entry, row, 0); err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
			if b.entry.Point == nil {
				return errRow
			}
			b.points.add(b.entry.Point, version)
		default:
			b.lines = append(b.lines, i)
		}
		rows = rest
	}
	return nil
}

// encode returns the columns as ClickHouse's format Native.
func (b *columnBlock) encode(columns proto.Input) ([]byte, error) {
	b.wire.Reset()
	rows := columns[0].Data.Rows()
	if rows == 0 {
		return nil, nil
	}
	err := proto.Block{Columns: len(columns), Rows: rows}.EncodeRawBlock(&b.wire, formVersion, columns)
	return b.wire.Buf, err
}

// formVersion is the version of the native form that a server assumes if it is not told
// another: columns without a kind of serialization.
const formVersion = 0

// frame is how many bytes are compressed as one.
const frame = 1 << 20

// compress returns data as frames of ClickHouse's own LZ4 form.
func (b *columnBlock) compress(data []byte) ([]byte, error) {
	b.packed = b.packed[:0]
	for len(data) > 0 {
		n := min(len(data), frame)
		if err := b.lz4.Compress(data[:n]); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		b.packed = append(b.packed, b.lz4.Data...)
		data = data[n:]
	}
	return b.packed, nil
}

// float is a column of numbers that may be unknown.
type float struct {
	values proto.ColFloat32
	column *proto.ColNullable[float32]
}

func (f *float) add(v float32, known bool) {
	f.values = append(f.values, v)
	null := uint8(1)
	if known {
		null = 0
	}
	f.column.Nulls = append(f.column.Nulls, null)
}

// pingColumns are columns of the table of pings.
type pingColumns struct {
	rider, device, trip, event proto.ColStr
	attrs                      proto.ColStr // JSON, empty if there are none
	ts                         proto.ColInt64
	nano, skipped              proto.ColUInt32
	late, corrected            proto.ColUInt8
	cell, version              proto.ColUInt64
	lat, lon                   proto.ColInt32
	numbers                    [len(pingline.Numbers)]float
}

func newPingColumns() *pingColumns {
	c := new(pingColumns)
	for i := range c.numbers {
		c.numbers[i].column = proto.NewColNullable[float32](&c.numbers[i].values)
	}
	return c
}

// Rows returns the number of pings.
func (c *pingColumns) Rows() int { return c.ts.Rows() }

// namedColumn is a column of a table. Lists are in the order in which columns are sent and read.
type namedColumn struct {
	name string
	data proto.Column
}

// list returns all columns, or those of a table that has none for attributes.
func (c *pingColumns) list(bare bool) []namedColumn {
	all := []namedColumn{
		{"rider", &c.rider}, {"device", &c.device}, {"ts", &c.ts}, {"nano", &c.nano}, {"cell", &c.cell}, {"late", &c.late}, {"corrected", &c.corrected},
		{"lat_e7", &c.lat}, {"lon_e7", &c.lon}, {"event", &c.event}, {"trip", &c.trip}, {"skipped", &c.skipped},
	}
	for i := range c.numbers {
		all = append(all, namedColumn{pingline.Numbers[i].Key, c.numbers[i].column})
	}
	if !bare {
		all = append(all, namedColumn{columnAttrs, &c.attrs})
	}
	return append(all, namedColumn{"version", &c.version})
}

func (c *pingColumns) columns(bare bool) proto.Input { return inputOf(c.list(bare)) }

func inputOf(list []namedColumn) (in proto.Input) {
	for _, n := range list {
		in = append(in, proto.InputColumn{Name: n.name, Data: n.data})
	}
	return in
}

func resultsOf(list []namedColumn) (out proto.Results) {
	for _, n := range list {
		out = append(out, proto.ResultColumn{Name: n.name, Data: n.data})
	}
	return out
}

func (c *pingColumns) reset() {
	for _, n := range c.list(false) {
		n.data.Reset()
	}
}

// add takes a row apart; cutRow has checked its length.
func (c *pingColumns) add(row []byte, version uint64) {
	le := binary.LittleEndian
	flags, known, texts := row[1], row[2], row[pingSize:]
	for i, to := range [...]*proto.ColStr{&c.rider, &c.device, &c.trip, &c.event} {
		n := int(row[3+i])
		to.AppendBytes(texts[:n])
		texts = texts[n:]
	}
	c.attrs.AppendBytes(texts) // the rest
	c.ts = append(c.ts, int64(le.Uint64(row[9:])))
	c.cell = append(c.cell, le.Uint64(row[17:]))
	c.nano = append(c.nano, le.Uint32(row[25:]))
	c.skipped = append(c.skipped, le.Uint32(row[29:]))
	c.lat = append(c.lat, int32(le.Uint32(row[33:])))
	c.lon = append(c.lon, int32(le.Uint32(row[37:])))
	for i := range c.numbers {
		c.numbers[i].add(math.Float32frombits(le.Uint32(row[41+4*i:])), known&(1<<i) != 0)
	}
	c.late = append(c.late, flags&flagLate)
	c.corrected = append(c.corrected, flags&flagCorrected/flagCorrected)
	c.version = append(c.version, version)
}

// set fills e with row i. It reports false if the row has no position.
func (c *pingColumns) set(e *pingline.Entry, i int) bool {
	lat, lon := c.lat[i], c.lon[i]
	if lat == 0 && lon == 0 || lat < -90*pingline.E7 || lat > 90*pingline.E7 || lon < -180*pingline.E7 || lon > 180*pingline.E7 {
		return false
	}
	*e = pingline.Entry{Ping: pingline.Ping{
		Rider: again(e.Rider, c.rider.RowBytes(i)), Device: again(e.Device, c.device.RowBytes(i)),
		Trip: again(e.Trip, c.trip.RowBytes(i)), Event: again(e.Event, c.event.RowBytes(i)),
	}}
	e.At, e.LatE7, e.LonE7, e.Corrected = c.ts[i], lat, lon, c.corrected[i] != 0
	for k := range c.numbers {
		if c.numbers[k].column.Nulls[i] == 0 {
			e.SetOptional(1<<k, float64(c.numbers[k].values[i]))
		}
	}
	if i < c.attrs.Rows() {
		if text := c.attrs.RowBytes(i); len(text) > 0 {
			e.Attrs, _ = pingline.ParseAttrs(text) // "" if another writer's text is none of attributes
		}
	}
	e.Cell, e.Skipped, e.Verdict = c.cell[i], c.skipped[i], pingline.Accepted
	e.Late, e.Apart = c.late[i] != 0, c.nano[i] != 0
	return true
}

// again returns b as a string, which is mostly that of the row before.
func again(last string, b []byte) string {
	if last == string(b) {
		return last
	}
	return string(b)
}

// pointColumns are columns of the table of points.
type pointColumns struct {
	name               proto.ColStr
	ts                 proto.ColInt64
	version            proto.ColUInt64
	tagKeys, tagValues *proto.ColArr[string]
	ints               *proto.ColArr[int64]
	floats             *proto.ColArr[float64]
	texts              *proto.ColArr[string]
	bools              *proto.ColArr[uint8]
	keys               [pingline.BoolField]*proto.ColArr[string] // of the fields of a type

	fresh pointValues
}

// pointValues are the values of a point, by type.
type pointValues struct {
	tagKeys, tagValues []string
	keys               [pingline.BoolField][]string
	ints               []int64
	floats             []float64
	texts              []string
	bools              []uint8
}

func newPointColumns() *pointColumns {
	text := func() *proto.ColArr[string] { return proto.NewArray[string](new(proto.ColStr)) }
	c := &pointColumns{
		tagKeys: text(), tagValues: text(), texts: text(),
		ints: proto.NewArray[int64](new(proto.ColInt64)), floats: proto.NewArray[float64](new(proto.ColFloat64)), bools: proto.NewArray[uint8](new(proto.ColUInt8)),
	}
	for i := range c.keys {
		c.keys[i] = text()
	}
	return c
}

// Rows returns the number of points.
func (c *pointColumns) Rows() int { return c.ts.Rows() }

func (c *pointColumns) list() []namedColumn {
	return []namedColumn{
		{"name", &c.name}, {"ts", &c.ts}, {"tag_keys", c.tagKeys}, {"tag_values", c.tagValues},
		{"int_keys", c.keys[pingline.IntField-1]}, {"ints", c.ints}, {"float_keys", c.keys[pingline.FloatField-1]}, {"floats", c.floats},
		{"text_keys", c.keys[pingline.TextField-1]}, {"texts", c.texts}, {"bool_keys", c.keys[pingline.BoolField-1]}, {"bools", c.bools},
		{"version", &c.version},
	}
}

func (c *pointColumns) columns() proto.Input { return inputOf(c.list()) }

func (c *pointColumns) reset() {
	for _, n := range c.list() {
		n.data.Reset()
	}
}

func (c *pointColumns) add(p *pingline.Point, version uint64) {
	v := &c.fresh
	v.tagKeys, v.tagValues, v.ints, v.floats, v.texts, v.bools = v.tagKeys[:0], v.tagValues[:0], v.ints[:0], v.floats[:0], v.texts[:0], v.bools[:0]
	for i := range v.keys {
		v.keys[i] = v.keys[i][:0]
	}
	for i := range p.Tags {
		v.tagKeys, v.tagValues = append(v.tagKeys, p.Tags[i].Key), append(v.tagValues, p.Tags[i].Value)
	}
	for i := range p.Fields {
		f := &p.Fields[i]
		v.keys[f.Type-1] = append(v.keys[f.Type-1], f.Key)
		switch f.Type {
		case pingline.IntField:
			v.ints = append(v.ints, f.Int())
		case pingline.FloatField:
			v.floats = append(v.floats, f.Float())
		case pingline.TextField:
			v.texts = append(v.texts, f.Text())
		default:
			bit := uint8(0)
			if f.Bool() {
				bit = 1
			}
			v.bools = append(v.bools, bit)
		}
	}
	c.name.Append(p.Name)
	c.ts, c.version = append(c.ts, p.At), append(c.version, version)
	c.tagKeys.Append(v.tagKeys)
	c.tagValues.Append(v.tagValues)
	for i := range c.keys {
		c.keys[i].Append(v.keys[i])
	}
	c.ints.Append(v.ints)
	c.floats.Append(v.floats)
	c.texts.Append(v.texts)
	c.bools.Append(v.bools)
}

// set fills p with row i, its fields in order of key.
func (c *pointColumns) set(p *pingline.Point, i int) error {
	*p = pingline.Point{Name: c.name.Row(i), At: c.ts[i], Tags: p.Tags[:0], Fields: p.Fields[:0]}
	keys, values := c.tagKeys.Row(i), c.tagValues.Row(i)
	if len(keys) != len(values) {
		return fmt.Errorf("point %s of %d: %d keys of tags and %d values", p.Name, p.At, len(keys), len(values))
	}
	for k := range keys {
		p.Tags = append(p.Tags, pingline.Tag{Key: keys[k], Value: values[k]})
	}
	err := addFields(p, c.keys[pingline.IntField-1].Row(i), c.ints.Row(i), pingline.Int)
	if err == nil {
		err = addFields(p, c.keys[pingline.FloatField-1].Row(i), c.floats.Row(i), pingline.Float)
	}
	if err == nil {
		err = addFields(p, c.keys[pingline.TextField-1].Row(i), c.texts.Row(i), pingline.Text)
	}
	if err == nil {
		err = addFields(p, c.keys[pingline.BoolField-1].Row(i), c.bools.Row(i), func(key string, v uint8) pingline.PointField { return pingline.Bool(key, v != 0) })
	}
	sortFields(p.Fields)
	return err
}
