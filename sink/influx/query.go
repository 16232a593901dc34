package influx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Points calls each for every stored point that q selects, as store.Reader wants
// it. The whole answer may take any time, but no silence within it may last
// longer than the configured timeout.
func (b *Bucket) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	return b.points(ctx, q, "", each)
}

// points is Points with a further condition.
func (b *Bucket) points(ctx context.Context, q store.Query, and string, each func(e *pingline.Entry, nano int64) error) error {
	from, err := b.source(ctx)
	if err != nil {
		return fmt.Errorf("read points from bucket %q: %w", b.cfg.Bucket, err)
	}
	err = query(ctx, b, http.MethodGet, selectPoints(from, q, and), func(s *series) error {
		if s.Name != "" && s.Name != Measurement { // a VictoriaMetrics answers any question with the names of its databases
			return fmt.Errorf("the answer is of %q: is this InfluxDB?", store.Clip(s.Name))
		}
		e := pingline.Entry{Verdict: pingline.Accepted}
		if err := s.Tags.set(&e); err != nil {
			return err
		}
		corrected := s.Tags.Clock == clockCorrected
		for i := range s.Values {
			v := &s.Values[i]
			if !v.placed {
				continue
			}
			e.Event, e.Trip, e.Fix, e.Skipped, e.Apart = v.event, v.trip, v.fix, v.skipped, v.nano != 0
			e.Corrected, e.Attrs = corrected, ""
			if len(v.attrs) > 0 && len(s.Columns) > columnAttrs+1 {
				e.Attrs = attrsOf(s.Columns[columnAttrs+1:], []byte(v.attrs))
			}
			if err := each(&e, v.nano); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read points from bucket %q: %w", b.cfg.Bucket, err)
	}
	return nil
}

// The columns of a row behind its time: the position, the optional numbers in the
// order of their table, and the rest.
const (
	columnLat = iota
	columnLon
	columnNumbers
	columnEvent = iota + len(pingline.Numbers) - 1
	columnTrip
	columnSkipped
	columnAttrs // the first
)

var fieldKeys = func() []string {
	list := []string{columnLat: "lat", columnLon: "lon", columnEvent: "event", columnTrip: "trip", columnSkipped: "skipped"}
	for i := range pingline.Numbers {
		list[columnNumbers+i] = pingline.Numbers[i].Key
	}
	return list
}()

var tagKeys = []string{"cell", "clock", "device", "late", "rider"}

// Names returns the tags and the fields of the points of Measurement.
func Names() (tags, fields []string) { return slices.Clone(tagKeys), slices.Clone(fieldKeys) }

// selectPoints groups by the tags, so that each tag is sent once for a series:
// that is twice as fast as tags in every row.
func selectPoints(from *mapping, q store.Query, and string) url.Values {
	iql := fmt.Sprintf(`SELECT %s,%s FROM %s WHERE time >= %d AND time < %dms`,
		identifiers(fieldKeys...), selectAttrs, identifiers(Measurement), q.From*pingline.NanosPerMilli+q.FromNano, q.To)
	if q.Rider != "" {
		iql += ` AND "rider" = ` + literal(q.Rider)
	}
	if q.Device != "" {
		iql += ` AND "device" = ` + literal(q.Device)
	}
	iql += and + ` GROUP BY ` + identifiers(tagKeys...)
	if q.Newest {
		iql += ` ORDER BY time DESC`
	}
	if q.Limit > 0 {
		iql += ` LIMIT ` + strconv.Itoa(q.Limit)
	}
	return from.params(iql)
}

// identifiers quotes names for InfluxQL, separated by commas.
func identifiers(names ...string) string {
	for i, s := range names {
		if i == 0 {
			names = append([]string(nil), names...)
		}
		names[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
	}
	return strings.Join(names, ",")
}

// literal quotes a string for InfluxQL.
func literal(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + `'`
}

// chunk is a part of an InfluxQL answer.
type chunk[S any] struct {
	Results []struct {
		Series  []S
		Error   string
		Partial bool // more chunks follow
	}
	Error string
}

type series struct {
	Name    string
	Tags    tags
	Columns []string
	Values  []pointRow
}

// query runs an InfluxQL statement and calls each, if it is not nil, for every
// series of every chunk of the answer.
func query[S any](ctx context.Context, b *Bucket, method string, params url.Values, each func(*S) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(b.cfg.Timeout, func() { cancel(fmt.Errorf("no answer within %v", b.cfg.Timeout)) })
	defer silence.Stop()
	resp, err := b.request(ctx, method, "/query", params)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = resp.Body.Close() }() // the end of the body has been read, or does not matter
	dec := json.NewDecoder(resp.Body)
	for more := false; ; {
		var a chunk[S]
		switch err := dec.Decode(&a); {
		case err == io.EOF && !more:
			return nil
		case err != nil:
			return errors.Join(fmt.Errorf("answer breaks off: %w", err), context.Cause(ctx))
		}
		silence.Reset(b.cfg.Timeout)
		if more, err = a.each(each); err != nil {
			return err
		}
	}
}

// each calls f for every series, and reports whether more chunks follow.
func (a *chunk[S]) each(f func(*S) error) (more bool, err error) {
	if a.Error != "" {
		return false, errors.New(store.Clip(a.Error))
	}
	for i := range a.Results {
		r := &a.Results[i]
		if r.Error != "" {
			return false, errors.New(store.Clip(r.Error))
		}
		for j := range r.Series {
			if f == nil {
				continue
			}
			if err := f(&r.Series[j]); err != nil {
				return false, err
			}
		}
		more = r.Partial
	}
	return more, nil
}

// tags are the tags of a series; "" for a tag that it does not have.
type tags struct{ Cell, Clock, Device, Late, Rider string }

func (t *tags) set(e *pingline.Entry) error {
	e.Device, e.Rider, e.Late, e.Cell = t.Device, t.Rider, t.Late == "1", 0
	if t.Cell == "" {
		return nil
	}
	var err error
	if e.Cell, err = strconv.ParseUint(t.Cell, 16, 64); err != nil {
		return fmt.Errorf("tag cell=%q: %w", t.Cell, err)
	}
	return nil
}

// pointRow is a point without its tags.
type pointRow struct {
	event, trip string
	fix         pingline.Fix
	nano        int64 // within fix.At's ms
	skipped     uint32
	attrs       string // values of the columns from columnAttrs on, if they are not all null
	placed      bool   // has a time and a position
}

// UnmarshalJSON reads an array: the time, then the fields. It is called with
// valid JSON; a value of an unexpected type counts as unknown.
func (v *pointRow) UnmarshalJSON(b []byte) error {
	*v = pointRow{}
	lat, lon := math.NaN(), math.NaN()
	b = bytes.TrimSuffix(bytes.TrimPrefix(b, []byte("[")), []byte("]"))
	timed := false
	for i := -1; len(b) > 0; i++ {
		if i == columnAttrs {
			if bytes.IndexFunc(b, notNull) >= 0 {
				v.attrs = string(b)
			}
			break
		}
		var value []byte
		value, b = cutValue(b)
		switch {
		case value[0] == 'n': // null
		case i == -1:
			ns, err := strconv.ParseInt(string(value), 10, 64)
			timed = err == nil
			v.fix.At = pingline.FloorMilli(ns)
			v.nano = ns - v.fix.At*pingline.NanosPerMilli
		case i == columnLat:
			lat = number(value, 64)
		case i == columnLon:
			lon = number(value, 64)
		case i < columnEvent:
			if f := number(value, 32); f == f {
				v.fix.SetOptional(1<<(i-columnNumbers), f)
			}
		case i == columnEvent:
			v.event = text(value)
		case i == columnTrip:
			v.trip = text(value)
		case i == columnSkipped:
			if n, err := strconv.ParseUint(string(value), 10, 32); err == nil {
				v.skipped = uint32(n)
			}
		}
	}
	v.placed = timed && v.fix.SetPosition(lat, lon) == nil
	return nil
}

// notNull reports whether a character is in no list of nulls.
func notNull(c rune) bool { return !strings.ContainsRune("null, ", c) }
