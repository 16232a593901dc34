package fields

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestHas(t *testing.T) {
	for line, want := range map[string]bool{
		`m,t=x event="a" 1`:              true,
		`m,t=x v=1,event="a" 1`:          true,
		`m,t=x noevent="a" 1`:            false,
		`m,event=x v=1 1`:                false,
		`m v=1,noevent=2,event=3 1`:      true,
		`m v=1,events=2 1`:               false,
		`m`:                              false,
		``:                               false,
		`m v=1,noevent=2,noevent=3 1`:    false,
		`m v="x event=y",event="z" 12`:   true,
		`m v="x,event=y" 12`:             false,
		`m v="\",event=y" 12`:            false,
		`m,t=a\ b\,c v=1,event=2 12`:     true,
		`m v="no end,event=2 12`:         false,
		`m v=,event=2 12`:                false,
		"m,t=x v=1,event=\"a\" 1\nm v=1": true,
	} {
		if got := Has([]byte(line), "event"); got != want {
			t.Errorf("Has(%q) = %v", line, got)
		}
	}
}

// Fields of a name and a type go, all else stays byte by byte, and lines without such a field, or
// with no other, are whole.
func TestWithout(t *testing.T) {
	const before = `m,r=a\ b\,x\=1 lat=1,attr_d="x, attr_d=true",attr_f=1.5,event="q\"," 1000
m,r=b attr_d=true,lat=1 1000
m,r=c lat=1,attr_d=F 1000
m,attr_d=true attr_d=t 1000
m,r=d lat=1,attr_d=,attr_f=2 1000
m,r=e attr_d=false,attr_f=2i,attr_d=true,attr_g="\\" 1000
`
	const after = `m,r=a\ b\,x\=1 lat=1,attr_d="x, attr_d=true",attr_f=1.5,event="q\"," 1000
m,r=b lat=1 1000
m,r=c lat=1 1000
m,attr_d=true attr_d=t 1000
m,r=d lat=1,attr_d=,attr_f=2 1000
m,r=e attr_f=2i,attr_g="\\" 1000
`
	got := Without([]byte(before), func(name, value []byte) bool { return string(name) == "attr_d" && TypeOf(value) == "boolean" })
	if string(got) != after {
		t.Errorf("left is\n%s", got)
	}
	if n := Fewer([]byte(before), got); n != 3 {
		t.Errorf("%d lines are shorter, want 3", n)
	}
}

func TestTypeOf(t *testing.T) {
	for value, want := range map[string]string{`"1i"`: "string", "t": "boolean", "False": "boolean", "1i": "integer", "7u": "unsigned", "1e3": "float", "-0.5": "float"} {
		if got := TypeOf([]byte(value)); got != want {
			t.Errorf("%s is of type %s, want %s", value, got, want)
		}
	}
}

// FuzzWithout: no lines make it panic; each stays a line, and is no longer than before.
func FuzzWithout(f *testing.F) {
	f.Add([]byte("m,r=a lat=1,attr_d=\"x\\\"\",attr_e=t 1\nm attr_d=1 2\n"))
	f.Add([]byte(`m =,"`))
	f.Fuzz(func(t *testing.T, lines []byte) {
		drop := func(name, value []byte) bool { return strings.HasPrefix(string(name), "attr_") && TypeOf(value) != "" }
		less := Without(lines, drop)
		if len(less) > len(lines) || bytes.Count(less, []byte("\n")) > bytes.Count(lines, []byte("\n")) {
			t.Errorf("%q became %q", lines, less)
		}
		if again := Without(less, drop); !bytes.Equal(again, less) {
			t.Errorf("%q became %q, and then %q", lines, less, again)
		}
		Fewer(lines, less)
	})
}

// Fields of the types that are refused go one after another, no others, and not for ever.
func TestRelent(t *testing.T) {
	refused := errors.New("a conflict")
	const lines = "m attr_a=t,attr_b=1,lat=1 1\nm attr_a=\"x\",attr_b=2,lat=1 2\nm lat=1 3\n"
	for _, tt := range []struct {
		name      string
		conflicts []string // each a field and a type
		left      string
		less      int
		refused   bool
	}{
		{"no conflict", nil, lines, 0, false},
		{"two", []string{"attr_a boolean", "attr_b float"}, "m lat=1 1\nm attr_a=\"x\",lat=1 2\nm lat=1 3\n", 2, false},
		{"of a field that no line has", []string{"attr_c float"}, lines, 0, true},
		{"of another type than any line has", []string{"attr_a float"}, lines, 0, true},
		{"of a field without which a line has none", []string{"lat float"}, "m attr_a=t,attr_b=1 1\nm attr_a=\"x\",attr_b=2 2\nm lat=1 3\n", 2, false},
	} {
		writes, last := 0, ""
		var l Lost
		err := l.Relent([]byte(lines), func(b []byte) error {
			last = string(b)
			if writes++; writes <= len(tt.conflicts) {
				return refused
			}
			return nil
		}, func(error) (Conflict, bool) {
			name, is, _ := strings.Cut(tt.conflicts[writes-1], " ")
			return ConflictIn(fmt.Sprintf(`partial write: field type conflict: input field "%s" on measurement "m" is type %s, already exists as type integer dropped=1`, name, is))
		})
		less, why := l.AttrsLost()
		if last != tt.left || less != uint64(tt.less) || (err != nil) != tt.refused || strings.Contains(why, "of type integer, and not ") != (tt.less > 0) {
			t.Errorf("%s: %d lines have less, %v, %q:\n%s", tt.name, less, err, why, last)
		}
	}
}
