package influx

import (
	"encoding/json"
	"testing"

	"pingline"
)

func TestRowOfOtherTypesIsUnknown(t *testing.T) {
	var r pointRow
	if err := r.UnmarshalJSON([]byte(`[1000000000,1.5,2.5,"fast",true,5,1e400,null,7,"a,]\"b",-3]`)); err != nil {
		t.Fatal(err)
	}
	want := pointRow{placed: true, trip: `a,]"b`}
	want.fix.At, want.fix.LatE7, want.fix.LonE7 = 1000, 15_000_000, 25_000_000
	want.fix.SetOptional(pingline.HasAccuracy, 5)
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

// A row that InfluxDB would not send is one with unknown values.
func TestRowsOfAnotherServer(t *testing.T) {
	for _, row := range []string{`[1,{"a,,":"b"},3]`, `[[",\""],",",2]`, `[ 1 , "a," , "b" ]`, `[1, "a,"]`, `[ ]`, `{",":","}`, `","`, `null`, `[""]`, `["",{}]`} {
		var r pointRow
		if err := json.Unmarshal([]byte(row), &r); err != nil || r.placed {
			t.Errorf("%s: %+v, %v", row, r, err)
		}
		var v valueRow
		if err := json.Unmarshal([]byte(row), &v); err != nil {
			t.Fatal(err)
		}
		_ = v.point(new(pingline.Point), []typedField{{"a", "string"}, {"b", "float"}}) // any error will do
	}
	var r pointRow
	if err := json.Unmarshal([]byte("[ 1000000 ,\t1.5 , 2.5\n]"), &r); err != nil || !r.placed || r.fix.LatE7 != 15_000_000 || r.fix.LonE7 != 25_000_000 {
		t.Errorf("with white space: %+v, %v", r, err)
	}
}

// Reading any answer, also of a server that is not InfluxDB, ends in entries
// or an error.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"results":[{"series":[{"tags":{"rider":"r"},"values":[[1,2,3,"a",null]]}]}]}`)
	f.Add(`{"results":[{"series":[{"values":[["a\\",",",null,-1e9],[],[[]],[{"a":"]"}],null,7,""]}]}]}`)
	f.Add(`{"results":[{"series":[{"values":[[1, {"a,":2}, 3], [ "a,", [",\""] ]]}]}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		var a chunk[series]
		if json.Unmarshal([]byte(s), &a) == nil {
			_, err := a.each(func(s *series) error { return s.Tags.set(new(pingline.Entry)) })
			_ = err // any will do
		}
		var n chunk[namedSeries]
		if json.Unmarshal([]byte(s), &n) == nil {
			_, err := n.each(func(s *namedSeries) error {
				for i := range s.Values {
					var p pingline.Point
					_ = s.Values[i].point(&p, []typedField{{"a", "integer"}, {"b", "string"}, {"c", "boolean"}, {"d", "float"}})
				}
				return nil
			})
			_ = err // any will do
		}
	})
}
