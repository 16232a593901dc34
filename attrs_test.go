package pingline

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

// mustAttrs returns the attributes of some fields.
func mustAttrs(t testing.TB, list ...PointField) Attrs {
	t.Helper()
	a, err := NewAttrs(list...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sampleAttrs has an attribute of each type.
func sampleAttrs(t testing.TB) Attrs {
	return mustAttrs(t, Float("fuel", 0.4), Text("door", `open "é"`), Bool("on", true), Bool("off", false), Text("none", ""))
}

func TestAttrsRoundTrip(t *testing.T) {
	a := sampleAttrs(t)
	if a != mustAttrs(t, Text("none", ""), Bool("off", false), Bool("on", true), Text("door", `open "é"`), Float("fuel", 0.4)) {
		t.Error("the order of the fields counts")
	}
	const want = `{"door":"open \"é\"","fuel":0.4,"none":"","off":false,"on":true}`
	text := a.AppendJSON(nil)
	if string(text) != want {
		t.Errorf("as JSON: %s, want %s", text, want)
	}
	if back, err := ParseAttrs(text); err != nil || back != a {
		t.Errorf("read back: %q, %v", back, err)
	}
	if f, ok := a.Get("door"); !ok || f.Type != TextField || f.Text() != `open "é"` {
		t.Errorf("door = %+v, %v", f, ok)
	}
	if _, ok := a.Get("doors"); ok || a.Len() != 5 || a.Validate() != nil {
		t.Errorf("%d attributes, %v", a.Len(), a.Validate())
	}
	for _, v := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-9, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53} {
		a := mustAttrs(t, Float("v", v))
		back, err := ParseAttrs(a.AppendJSON(nil))
		if err != nil || back != a || a.Validate() != nil {
			t.Errorf("%v: %s, %v", v, a.AppendJSON(nil), err)
		}
	}
	for _, s := range []string{"", "a\u2028b\u2029", `\`, "李", "\ufffd", strings.Repeat("x", MaxAttrText)} {
		a := mustAttrs(t, Text("v", s))
		text := a.AppendJSON(nil)
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil || m["v"] != s {
			t.Errorf("%q as JSON: %s, %v", s, text, err)
		}
		if back, err := ParseAttrs(text); err != nil || back != a {
			t.Errorf("%q read back: %q, %v", s, back, err)
		}
	}
}

func TestAttrsLimits(t *testing.T) {
	many := make([]PointField, MostAttrs+1)
	for i := range many {
		many[i] = Bool(fmt.Sprintf("a%d", i), true)
	}
	wide := make([]PointField, MostAttrs)
	for i := range wide {
		wide[i] = Text(fmt.Sprintf("a%d", i), strings.Repeat("x", MaxAttrText))
	}
	for _, tt := range []struct {
		name string
		list []PointField
		want string // "" if it is allowed
	}{
		{"sixteen", many[:MostAttrs], ""},
		{"seventeen", many, "attrs: 17 attributes, more than 16"},
		{"a long block", wide, "attrs: 1110 bytes of names and values, more than 1024"},
		{"the longest name", []PointField{Bool(strings.Repeat("n", MaxAttrName), true)}, ""},
		{"a longer name", []PointField{Bool(strings.Repeat("n", MaxAttrName+1), true)}, `attrs: "` + strings.Repeat("n", 33) + `": a name of 33 bytes, not in [1, 32]`},
		{"no name", []PointField{Bool("", true)}, `attrs: "": a name of 0 bytes, not in [1, 32]`},
		{"a digit first", []PointField{Bool("1st", true)}, `attrs: "1st": a name has letters, digits and _ only, and no digit first`},
		{"a dash", []PointField{Bool("a-b", true)}, `attrs: "a-b": a name has letters, digits and _ only, and no digit first`},
		{"a bracket", []PointField{Bool("a[", true)}, `attrs: "a[": a name has letters, digits and _ only, and no digit first`},
		{"one of our keys", []PointField{Float("lat", 1)}, `attrs: "lat": the name of a field of its own: use another`},
		{"one of our columns", []PointField{Float("skipped", 1)}, `attrs: "skipped": the name of a field of its own: use another`},
		{"twice", []PointField{Float("a", 1), Bool("b", true), Text("a", "")}, `attrs: "a": it comes twice`},
		{"the longest text", []PointField{Text("a", strings.Repeat("é", MaxAttrText/2))}, ""},
		{"a longer text", []PointField{Text("a", strings.Repeat("x", MaxAttrText+1))}, `attrs: "a": a string of 65 bytes, more than 64`},
		{"a line feed", []PointField{Text("a", "x\n")}, `attrs: "a": a control character in a string`},
		{"a control character beyond ASCII", []PointField{Text("a", "x\u0085")}, `attrs: "a": a control character in a string`},
		{"not UTF-8", []PointField{Text("a", "\xff")}, `attrs: "a": a string that is not UTF-8`},
		{"not a number", []PointField{Float("a", math.NaN())}, `attrs: "a": not a finite number`},
		{"infinity", []PointField{Float("a", math.Inf(-1))}, `attrs: "a": not a finite number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := NewAttrs(tt.list...)
			if tt.want == "" {
				if err != nil || a.Validate() != nil || a.Len() != len(tt.list) {
					t.Errorf("%v, %v", err, a.Validate())
				}
				return
			}
			if err == nil || err.Error() != tt.want || !errors.Is(err, ErrInvalid) || a != "" {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

// The form of version 5, byte by byte, as that of version 3 in TestCommitGolden.
func TestCommitOfAttributes(t *testing.T) {
	const path = "testdata/commit-v5.golden"
	h, want := golden()
	for i := range want {
		if want[i].Line == "" && i != 1 {
			want[i].Attrs = sampleAttrs(t)
		}
	}
	put := again
	put.Attrs = mustAttrs(t, Float("fuel", 0.4))
	want[3].Corrected = true
	want = append(want, put)
	b := encode(h, want...)
	form := CommitForm(0)
	for i := range want {
		form = max(form, want[i].Form())
	}
	if SetCommitForm(b, form); b[0] != 5 {
		t.Fatalf("a commit with attributes is of version %d", b[0])
	}
	text := hex.EncodeToString(b) + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if file, err := os.ReadFile(path); err != nil || string(file) != text {
		t.Errorf("encoded:\n%swant:\n%s%v", text, file, err)
	}
	checkGolden(t, path, h, want)
	for n := range b {
		if _, _, err := decode(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut off at %d of %d bytes: error %v", n, len(b), err)
		}
	}
	if SetCommitForm(b, correctedVersion); b[0] != 4 {
		t.Fatalf("version %d", b[0])
	}
	if _, _, err := decode(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("attributes in a commit of version 4: %v", err)
	}
}

func TestAttributesOfOddForm(t *testing.T) {
	for _, a := range []Attrs{
		"\x00\x02", "\x01", "\x01a", "\x01a\x01\x00", "\x01a\x05", "\x01a\x04\x02x", "\x01b\x02\x01a\x02", "\x01a\x02\x01a\x03", "\x01a\x02\x00",
		Attrs("\x01a\x04\x41" + strings.Repeat("x", 0x41)),
	} {
		e := Entry{Ping: Ping{Rider: "r", Attrs: a, Fix: Fix{At: commitAt}}, Verdict: Held}
		b := encode(CommitHeader{At: commitAt}, e)
		SetCommitForm(b, e.Form())
		if _, _, err := decode(b); !errors.Is(err, ErrCorrupt) || a.Validate() == nil {
			t.Errorf("%q: decoded with %v, valid %v", a, err, a.Validate())
		}
	}
}

func FuzzParseAttrs(f *testing.F) {
	f.Add([]byte(`{"door":"open","fuel":0.4,"on":true,"x":null}`))
	f.Add([]byte(`{"a":[1],"b":{"c":2}}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ParseAttrs(text)
		if err != nil {
			return
		}
		if err := a.Validate(); err != nil || a != "" && !a.wellFormed() {
			t.Fatalf("%s is read as %q: %v", text, a, err)
		}
		var back, want map[string]any
		if err := json.Unmarshal(a.AppendJSON(nil), &back); err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(text, &want) == nil {
			for k, v := range want {
				if v == nil {
					delete(want, k)
				}
			}
			if len(want)+len(back) > 0 && !reflect.DeepEqual(back, want) {
				t.Errorf("%s is written as %s", text, a.AppendJSON(nil))
			}
		}
	})
}
