package pingline

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

func TestPointValidate(t *testing.T) {
	one := []Field{Int("n", 1)}
	for _, tt := range []struct {
		name, want string
		p          Point
	}{
		{"a field of every type", "", *figures()},
		{"no name", `name ""`, Point{Fields: one}},
		{"a newline in the name", `name "a\nb"`, Point{Name: "a\nb", Fields: one}},
		{"the name of a comment", `name "#p"`, Point{Name: "#p", Fields: one}},
		{"no field", "0 fields", Point{Name: "p"}},
		{"a tag without value", `tag "k" of value ""`, Point{Name: "p", Tags: []Tag{{"k", ""}}, Fields: one}},
		{"a backslash at the end of a tag", "tag", Point{Name: "p", Tags: []Tag{{"k", `v\`}}, Fields: one}},
		{"tags out of order", "tag a behind b", Point{Name: "p", Tags: []Tag{{"b", "1"}, {"a", "1"}}, Fields: one}},
		{"a tag twice", "tag a behind a", Point{Name: "p", Tags: []Tag{{"a", "1"}, {"a", "1"}}, Fields: one}},
		{"not a number", "NaN is not finite", Point{Name: "p", Fields: []Field{Float("f", math.NaN())}}},
		{"infinite", "+Inf is not finite", Point{Name: "p", Fields: []Field{Float("f", math.Inf(1))}}},
		{"a field without type", "no value of type 0", Point{Name: "p", Fields: []Field{{Key: "f"}}}},
		{"a field without key", `field ""`, Point{Name: "p", Fields: []Field{Bool("", true)}}},
		{"a newline in a text", "control characters", Point{Name: "p", Fields: []Field{Text("f", "a\nb")}}},
		{"no UTF-8", "no UTF-8", Point{Name: "p", Fields: []Field{Text("f", "\xda")}}},
		{"too large", "4132 bytes, more than 4096", Point{Name: "p", Fields: []Field{Text("f", strings.Repeat("x", 2048))}}},
		{"too many tags", "256 tags", Point{Name: "p", Tags: make([]Tag, 256), Fields: one}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.p.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAppendPoint(t *testing.T) {
	got := string(AppendPoint([]byte("before\n"), figures()))
	want := `before` + "\n" + `a\ name,cell=8839220f09fffff,node=a\ node\,\ of\=ours n=-9223372036854775808i,share=0.1,note="say \"so\" \\ é",on=true,off=false,m=5i,whole=3 1759999990123000000` + "\n"
	if got != want {
		t.Errorf("AppendPoint = %s, want %s", got, want)
	}
}

// The decoder of the makers of InfluxDB reads what was said, and its row is never
// longer than Size says.
func FuzzAppendPoint(f *testing.F) {
	f.Add("a name", "k", "v, =", "f", int64(5), 0.5, `say "so" \`, true, int64(1760000000123))
	f.Add(`n\,`, `k\=`, `v\ v`, `f\,`, int64(math.MinInt64), -math.MaxFloat64, "", false, int64(-1))
	f.Add("n", "a=b", "é", "x=y", int64(0), math.SmallestNonzeroFloat64, "a=b,c d", true, int64(0))
	f.Fuzz(func(t *testing.T, name, key, value, field string, i int64, v float64, text string, on bool, at int64) {
		fields := []Field{Int(field+"i", i), Float(field+"f", v), Text(field+"t", text), Bool(field+"b", on)}
		p := &Point{Name: name, Tags: []Tag{{key, value}}, Fields: fields, At: at % (math.MaxInt64 / 2_000_000)}
		if p.Validate() != nil {
			return
		}
		line := AppendPoint(nil, p)
		if len(line) > p.Size() {
			t.Errorf("%d bytes, Size says %d: %s", len(line), p.Size(), line)
		}
		if backslashed(name) || backslashed(key) || backslashed(value) || backslashed(field) {
			return // their decoder and InfluxDB do not agree on these
		}
		d := lineprotocol.NewDecoderWithBytes(line)
		if !d.Next() {
			t.Fatalf("no point in %q", line)
		}
		got := &Point{}
		m, err := d.Measurement()
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		got.Name = string(m)
		for {
			k, v, err := d.NextTag()
			if err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			if k == nil {
				break
			}
			got.Tags = append(got.Tags, Tag{string(k), string(v)})
		}
		for {
			k, v, err := d.NextField()
			if err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			if k == nil {
				break
			}
			switch key := string(k); v.Kind() {
			case lineprotocol.Int:
				got.Fields = append(got.Fields, Int(key, v.IntV()))
			case lineprotocol.Float:
				got.Fields = append(got.Fields, Float(key, v.FloatV()))
			case lineprotocol.String:
				got.Fields = append(got.Fields, Text(key, v.StringV()))
			case lineprotocol.Bool:
				got.Fields = append(got.Fields, Bool(key, v.BoolV()))
			}
		}
		when, err := d.Time(lineprotocol.Nanosecond, time.Time{})
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if got.At = when.UnixMilli(); !got.Equal(p) || d.Next() {
			t.Errorf("read %+v, want %+v: %s", got, p, line)
		}
	})
}

func backslashed(s string) bool { return strings.Contains(s, `\`) }
