package pingline

import (
	"math"
	"strings"
	"testing"
)

func TestPointValidate(t *testing.T) {
	one := []PointField{Int("n", 1)}
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
		{"not a number", "NaN is not finite", Point{Name: "p", Fields: []PointField{Float("f", math.NaN())}}},
		{"infinite", "+Inf is not finite", Point{Name: "p", Fields: []PointField{Float("f", math.Inf(1))}}},
		{"a field without type", "no value of type 0", Point{Name: "p", Fields: []PointField{{Key: "f"}}}},
		{"a field without key", `field ""`, Point{Name: "p", Fields: []PointField{Bool("", true)}}},
		{"a newline in a text", "control characters", Point{Name: "p", Fields: []PointField{Text("f", "a\nb")}}},
		{"no UTF-8", "no UTF-8", Point{Name: "p", Fields: []PointField{Text("f", "\xda")}}},
		{"too large", "4132 bytes, more than 4096", Point{Name: "p", Fields: []PointField{Text("f", strings.Repeat("x", 2048))}}},
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
