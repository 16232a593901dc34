package cassandra

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"pingline"
)

// PointsNamed calls each for every stored point of a name, as store.PointReader wants it. They
// are read hour by hour, of hours that have any.
func (k *Keyspace) PointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags ...pingline.Tag) error {
	return k.readFault(ctx, "read "+name+" from", k.pointsNamed(ctx, name, from, to, each, tags))
}

var selectPoints = "SELECT " + pointTable.names(pointTable.columns) + " FROM "

func (k *Keyspace) pointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags []pingline.Tag) error {
	l, err := k.readable(ctx)
	if err != nil || from >= to {
		return err
	}
	hours, err := k.readSpans(ctx, l, name, floorTo(from, milliPerHour), floorTo(to-1, milliPerHour))
	if err != nil {
		return err
	}
	statement := selectPoints + k.to.keyspace + ".points WHERE name = ? AND hour = ? AND bucket = ? AND at >= ? AND at < ?"
	return k.stream(ctx, l, len(hours)*pointBuckets, pointColumns, func(i int) inquiry {
		return inquiry{statement, []any{name, time.UnixMilli(hours[i/pointBuckets]), i % pointBuckets, time.UnixMilli(from), time.UnixMilli(to)}}
	}, func(row []cqlValue) error {
		p, err := readPoint(row)
		if err != nil {
			return err
		}
		for _, t := range tags {
			if !slices.Contains(p.Tags, t) {
				return nil
			}
		}
		return each(p)
	})
}

// readPoint reads a row of points.
func readPoint(row []cqlValue) (*pingline.Point, error) {
	p := &pingline.Point{Name: string(row[pointName]), At: int64(binary.BigEndian.Uint64(row[pointAt]))}
	bad := func(column int) error {
		return fmt.Errorf("%s of %d: column %s holds no such map", p.Name, p.At, pointTable.columns[column].name)
	}
	if !eachPair(row[pointTags], func(key string, v []byte) bool {
		p.Tags = append(p.Tags, pingline.Tag{Key: key, Value: string(v)})
		return true
	}) {
		return nil, bad(pointTags)
	}
	for i, field := range []func(key string, v []byte) (pingline.PointField, bool){readInt, readFloat, readText, readBool} {
		if !eachPair(row[pointInts+i], func(key string, v []byte) bool {
			f, ok := field(key, v)
			p.Fields = append(p.Fields, f)
			return ok
		}) {
			return nil, bad(pointInts + i)
		}
	}
	slices.SortFunc(p.Tags, func(a, b pingline.Tag) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(p.Fields, func(a, b pingline.PointField) int { return strings.Compare(a.Key, b.Key) })
	return p, nil
}

func readInt(key string, v []byte) (f pingline.PointField, ok bool) {
	if len(v) != 8 {
		return f, false
	}
	return pingline.Int(key, int64(binary.BigEndian.Uint64(v))), true
}

func readFloat(key string, v []byte) (f pingline.PointField, ok bool) {
	if len(v) != 8 {
		return f, false
	}
	return pingline.Float(key, math.Float64frombits(binary.BigEndian.Uint64(v))), true
}

func readText(key string, v []byte) (pingline.PointField, bool) {
	return pingline.Text(key, string(v)), true
}

func readBool(key string, v []byte) (f pingline.PointField, ok bool) {
	if len(v) != 1 {
		return f, false
	}
	return pingline.Bool(key, v[0] != 0), true
}

// eachPair calls each for the pairs of a map, until it returns false. It returns false if b is
// no map or each has returned false.
func eachPair(b []byte, each func(key string, value []byte) bool) bool {
	if len(b) == 0 {
		return true // a column of another writer's row
	}
	next := func() (part []byte, ok bool) {
		if len(b) < 4 {
			return nil, false
		}
		n := int32(binary.BigEndian.Uint32(b))
		if b = b[4:]; n < 0 || int(n) > len(b) {
			return nil, false
		}
		part, b = b[:n], b[n:]
		return part, true
	}
	if len(b) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	for range n {
		key, ok := next()
		if !ok {
			return false
		}
		v, ok := next()
		if !ok || !each(string(key), v) {
			return false
		}
	}
	return len(b) == 0
}
