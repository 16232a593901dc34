package lenient

import (
	"encoding/json"
	"strings"
	"testing"
)

// A body is what the standard library takes for JSON, up to a depth.
func FuzzCheckJSON(f *testing.F) {
	for _, text := range []string{
		"", " ", "{", "}", "[", "]", "{}", "[]", "[1,]", "[,]", `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, "[1 2]", "1 2", "[}", "{]", "[[]]", `[{"a":[{}]},2]`,
		"true", "tru", "false", "null", "nul", "truex", "0", "-", "-0", "01", "-01", "1.", "1.5", ".5", "1e", "1e5", "1E+5", "1e-", "1.5e-07", "+1", "--1", "1a",
		`"`, `"a"`, `"\`, `"\"`, `"\n\t\u00e9\/"`, `"\u00e"`, `"\u00eg"`, `"\x"`, "\"\x00\"", "\"\x1f\"", "\"\xff\"", "\t[\r\n 1 , 2\n]\n", "[1]x", "\x00", `{"a":"b"}{`, "[\f1]",
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat("[", 65), strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		levels, deep := 0, false
		for i, quoted := 0, false; i < len(body); i++ {
			switch c := body[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '{' || c == '[':
				levels++
				deep = deep || levels > deepest
			case c == '}' || c == ']':
				levels--
			}
		}
		got, valid := checkJSON(body), json.Valid(body)
		switch {
		case got == nothingWrong && (!valid || deep), got == notJSON && valid, got == tooDeep && !deep, valid && deep && got != tooDeep:
			t.Errorf("%q: %d, valid %v, deep %v", body, got, valid, deep)
		}
	})
}

// A number keeps the digits that matter.
func TestNumberOfManyDigits(t *testing.T) {
	for text, want := range map[string]float64{
		"41.15781230000000000000000000001": 41.1578123, "-8.6291051999999999999999999999": -8.6291052, "1760000000.123456789012345678": 1760000000.1234567,
		"0.00000000000000000000000001": 1e-26, "123456789012345678901234.5": 123456789012345678901234.5, "1.5000000000000000000000e3": 1500, "1234567890123456789.25": 1234567890123456789,
	} {
		if got, ok := Number(text); !ok || got != want {
			t.Errorf("%s is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"1.00000000000000000000000x", "0.1.00000000000000000000000", "..0000000000000000000000000"} {
		if got, ok := Number(text); ok {
			t.Errorf("%s is %v", text, got)
		}
	}
}
