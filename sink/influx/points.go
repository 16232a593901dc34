package influx

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"pingline"
)

// PointsNamed calls each for every stored point of a name, as store.PointReader wants
// it.
func (b *Bucket) PointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags ...pingline.Tag) error {
	if err := b.pointsNamed(ctx, name, from, to, each, tags...); err != nil {
		return fmt.Errorf("read %s from bucket %q: %w", name, b.cfg.Bucket, err)
	}
	return nil
}

func (b *Bucket) pointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags ...pingline.Tag) error {
	in, err := b.source(ctx)
	if err != nil {
		return err
	}
	fields, err := b.fieldsOf(ctx, in, name)
	if err != nil || len(fields) == 0 {
		return err
	}
	keys := make([]string, len(fields))
	for i := range fields {
		keys[i] = fields[i].key
	}
	iql := fmt.Sprintf(`SELECT %s FROM %s WHERE time >= %dms AND time < %dms`, identifiers(keys...), identifiers(name), from, to)
	for _, t := range tags {
		iql += ` AND ` + identifiers(t.Key) + ` = ` + literal(t.Value)
	}
	iql += ` GROUP BY *`
	p := pingline.Point{Name: name}
	return query(ctx, b, http.MethodGet, in.params(iql), func(s *namedSeries) error {
		p.Tags = p.Tags[:0]
		for key, value := range s.Tags {
			if value != "" {
				p.Tags = append(p.Tags, pingline.Tag{Key: key, Value: value})
			}
		}
		slices.SortFunc(p.Tags, func(a, b pingline.Tag) int { return cmp.Compare(a.Key, b.Key) })
		for i := range s.Values {
			if err := s.Values[i].point(&p, fields); err != nil {
				return err
			}
			if err := each(&p); err != nil {
				return err
			}
		}
		return nil
	})
}

// params are those of a query that reads from m.
func (m *mapping) params(iql string) url.Values {
	params := url.Values{"q": {iql}, "db": {m.Database}, "epoch": {"ns"}, "chunked": {"true"}}
	if m.Policy != "" {
		params.Set("rp", m.Policy)
	}
	return params
}

// typedField is a field of a measurement. In a JSON answer its type cannot be seen: a
// float that is whole is written as an integer is.
type typedField struct {
	key  string
	kind string // as InfluxDB names it: float, integer, string or boolean
}

// fieldsOf returns the fields of a measurement, in order of key; none if there is no
// such measurement.
func (b *Bucket) fieldsOf(ctx context.Context, in *mapping, name string) (list []typedField, err error) {
	err = query(ctx, b, http.MethodGet, in.params(`SHOW FIELD KEYS FROM `+identifiers(name)), func(s *keySeries) error {
		for _, row := range s.Values {
			if len(row) == 2 && !slices.ContainsFunc(list, func(f typedField) bool { return f.key == row[0] }) {
				list = append(list, typedField{row[0], row[1]})
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b typedField) int { return cmp.Compare(a.key, b.key) })
	return list, err
}

// keySeries is a list of fields and their types.
type keySeries struct{ Values [][]string }

// namedSeries is points of one set of tags.
type namedSeries struct {
	Tags   map[string]string
	Values []valueRow
}

// valueRow is a row of an answer, as the JSON array that it is.
type valueRow []byte

// UnmarshalJSON keeps the row as it is.
func (v *valueRow) UnmarshalJSON(b []byte) error {
	*v = append((*v)[:0], b...)
	return nil
}

// point sets time and fields of p to what the row says.
func (v valueRow) point(p *pingline.Point, fields []typedField) error {
	p.Fields = p.Fields[:0]
	if v[0] != '[' {
		return fmt.Errorf("a row that is %.20q", v)
	}
	b := v[1 : len(v)-1]
	for i := -1; len(b) > 0 && i < len(fields); i++ {
		var value []byte
		value, b = cutValue(b)
		if i == -1 {
			ns, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil {
				return fmt.Errorf("time %s: %w", value, err)
			}
			p.At = pingline.FloorMilli(ns)
			continue
		}
		if value[0] == 'n' { // null
			continue
		}
		f, err := fields[i].of(value)
		if err != nil {
			return fmt.Errorf("field %s: %w", fields[i].key, err)
		}
		p.Fields = append(p.Fields, f)
	}
	return nil
}

// of returns the field with a value in JSON.
func (f *typedField) of(value []byte) (pingline.PointField, error) {
	switch f.kind {
	case "integer":
		n, err := strconv.ParseInt(string(value), 10, 64)
		return pingline.Int(f.key, n), err
	case "float":
		v, err := strconv.ParseFloat(string(value), 64)
		return pingline.Float(f.key, v), err
	case "boolean":
		v, err := strconv.ParseBool(string(value))
		return pingline.Bool(f.key, v), err
	case "string":
		return pingline.Text(f.key, text(value)), nil
	}
	return pingline.PointField{}, fmt.Errorf("of type %q", f.kind)
}
