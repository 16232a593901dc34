// Package pingproto has pings and points in the form of Protobuf, by the schema of
// docs/pingline.proto.
//
// There is no generated code: a test compares the numbers of fields with the schema. A message
// is read in any order of its fields, a field that comes twice counts the last time, and one
// that is not known is passed over, as the format has it.
package pingproto

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"pingline"
)

// ContentType is that of a message, up to its parameters.
const ContentType = "application/x-protobuf"

// PingType and PointType are the whole types of messages that are written.
const (
	PingType  = ContentType + "; message=pingline.v1.Ping"
	PointType = ContentType + "; message=pingline.v1.Point"
)

// The fields of a Ping. Those of pingline.Numbers begin with pingNumbers, in the order of the
// table.
const (
	pingRider = 1 + iota
	pingTS
	pingLat
	pingLon
	pingDevice
	pingEvent
	pingTrip
	pingAttrs

	pingCell      = 16
	pingSkipped   = 17
	pingLate      = 18
	pingCorrected = 19
	pingNano      = 20

	pingNumbers = 32
)

// The fields of a Point, of an entry of a map, and of a Value.
const (
	pointName, pointTS, pointTags, pointFields      = 1, 2, 3, 4
	mapKey, mapValue                                = 1, 2
	valueInteger, valueNumber, valueText, valueFlag = 1, 2, 3, 4
)

// AppendPing appends a ping with all that is known of it.
func AppendPing(dst []byte, e *pingline.Entry) []byte {
	dst = appendText(dst, pingRider, e.Rider)
	dst = appendInt(dst, pingTS, e.At)
	dst = appendDouble(dst, pingLat, e.Lat())
	dst = appendDouble(dst, pingLon, e.Lon())
	dst = appendText(dst, pingDevice, e.Device)
	dst = appendText(dst, pingEvent, e.Event)
	dst = appendText(dst, pingTrip, e.Trip)
	if e.Attrs != "" {
		dst = appendAttrs(dst, e.Attrs)
	}
	if e.Cell != 0 {
		dst = protowire.AppendFixed64(protowire.AppendTag(dst, pingCell, protowire.Fixed64Type), e.Cell)
	}
	dst = appendInt(dst, pingSkipped, int64(e.Skipped))
	dst = appendFlag(dst, pingLate, e.Late)
	dst = appendFlag(dst, pingCorrected, e.Corrected)
	dst = appendInt(dst, pingNano, e.Nano())
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) != 0 {
			dst = protowire.AppendFixed32(protowire.AppendTag(dst, pingNumbers+protowire.Number(i), protowire.Fixed32Type), math.Float32bits(v))
		}
	}
	return dst
}

// appendAttrs appends attributes, each as an entry of a map.
func appendAttrs(dst []byte, a pingline.Attrs) []byte {
	for f := range a.All() {
		dst = appendEntry(dst, pingAttrs, f.Key, func(b []byte) []byte {
			return appendPart(b, mapValue, func(b []byte) []byte { return appendValue(b, &f) })
		})
	}
	return dst
}

// AppendPoint appends a point.
func AppendPoint(dst []byte, p *pingline.Point) []byte {
	dst = appendText(dst, pointName, p.Name)
	dst = appendInt(dst, pointTS, p.At)
	for i := range p.Tags {
		dst = appendEntry(dst, pointTags, p.Tags[i].Key, func(b []byte) []byte { return appendText(b, mapValue, p.Tags[i].Value) })
	}
	for i := range p.Fields {
		dst = appendEntry(dst, pointFields, p.Fields[i].Key, func(b []byte) []byte {
			return appendPart(b, mapValue, func(b []byte) []byte { return appendValue(b, &p.Fields[i]) })
		})
	}
	return dst
}

// appendEntry appends an entry of a map.
func appendEntry(dst []byte, n protowire.Number, key string, value func([]byte) []byte) []byte {
	return appendPart(dst, n, func(b []byte) []byte { return value(appendText(b, mapKey, key)) })
}

// appendPart appends a message within another. Its length has two bytes, which is enough for any
// part of a point, and more than the shortest form of a short one, which every reader takes.
func appendPart(dst []byte, n protowire.Number, part func([]byte) []byte) []byte {
	dst = append(protowire.AppendTag(dst, n, protowire.BytesType), 0, 0)
	start := len(dst)
	dst = part(dst)
	size := len(dst) - start
	binary.LittleEndian.PutUint16(dst[start-2:], uint16(size&0x7f|0x80|size>>7<<8))
	return dst
}

// A part of a point fits into two bytes of a varint.
var _ [1<<14 - pingline.MaxPoint]struct{}

// appendValue appends the value of a field, also where it is 0: a oneof tells which kind it is.
func appendValue(dst []byte, f *pingline.PointField) []byte {
	switch f.Type {
	case pingline.IntField:
		return protowire.AppendVarint(protowire.AppendTag(dst, valueInteger, protowire.VarintType), uint64(f.Int()))
	case pingline.BoolField:
		return protowire.AppendVarint(protowire.AppendTag(dst, valueFlag, protowire.VarintType), protowire.EncodeBool(f.Bool()))
	case pingline.TextField:
		return protowire.AppendString(protowire.AppendTag(dst, valueText, protowire.BytesType), f.Text())
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, valueNumber, protowire.Fixed64Type), math.Float64bits(f.Float()))
}

// The functions below leave out a field that has its default.

func appendText(dst []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, n, protowire.BytesType), s)
}

func appendInt(dst []byte, n protowire.Number, v int64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, n, protowire.VarintType), uint64(v))
}

func appendDouble(dst []byte, n protowire.Number, v float64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, n, protowire.Fixed64Type), math.Float64bits(v))
}

func appendFlag(dst []byte, n protowire.Number, v bool) []byte {
	if !v {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, n, protowire.VarintType), 1)
}
