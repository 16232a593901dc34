package native

import (
	"fmt"
	"strings"
	"testing"

	"pingline/ingest/phone"
)

func TestAttributes(t *testing.T) {
	many := make([]string, 17)
	for i := range many {
		many[i] = fmt.Sprintf(`"a%02d":%d`, i, i)
	}
	text := strings.Repeat("x", 65)
	for _, tt := range []struct{ name, attrs, want, err string }{
		{"of each type", `{"fuel":0.4,"door":"open","on":true,"off":false}`, `{"door":"open","fuel":0.4,"off":false,"on":true}`, ""},
		{"spaced", "{ \"b\" : 1 ,\n\t\"a\" : \"\" }", `{"a":"","b":1}`, ""},
		{"none", `{}`, ``, ""},
		{"null", `null`, ``, ""},
		{"one that is null", `{"a":null,"b":-1e3}`, `{"b":-1000}`, ""},
		{"escaped", `{"\u0061":"\u00e9\"\\"}`, `{"a":"é\"\\"}`, ""},
		{"sixteen", "{" + strings.Join(many[:16], ",") + "}", "{" + strings.Join(many[:16], ",") + "}", ""},
		{"seventeen", "{" + strings.Join(many, ",") + "}", ``, `17 attributes, more than 16`},
		{"a list", `[1]`, ``, `not an object of names and values`},
		{"a string", `"a"`, ``, `not an object of names and values`},
		{"an object in it", `{"a":{"b":1},"c":2}`, ``, `"a": not a number, a boolean or a string`},
		{"a list in it", `{"a":[1,2]}`, ``, `"a": not a number, a boolean or a string`},
		{"our key", `{"speed":1}`, ``, `"speed": the name of a field of its own: use another`},
		{"twice", `{"a":1,"a":2}`, ``, `"a": it comes twice`},
		{"a long string", `{"a":"` + text + `"}`, ``, `"a": a string of 65 bytes, more than 64`},
		{"a control character", `{"a":"\n"}`, ``, `"a": a control character in a string`},
		{"half a character", `{"a":"\ud800"}`, "{\"a\":\"\ufffd\"}", ""},
		{"not a number", `{"a":NaN}`, ``, `"a": not a finite number`},
		{"too large a number", `{"a":1e999}`, ``, `"a": not a finite number`},
	} {
		for _, form := range []string{"[%s]", "%s", "{\"pings\":[%s]}", "[%[1]s,%[1]s]", "%[1]s\n%[1]s"} {
			ping := with(`"attrs":` + tt.attrs)
			if strings.Contains(form, "\n") {
				ping = strings.ReplaceAll(ping, "\n", " ")
			}
			body := at(fmt.Sprintf(form, ping), testNow)
			var d phone.Pings
			if err := decode(&d, []byte(body), testLimits, testNow); err != nil {
				t.Fatalf("%s: %s: %v", tt.name, body, err)
			}
			if tt.err != "" {
				if len(d.List) != 0 || d.Rejected[0].Field != "attrs" || d.Rejected[0].Reason != tt.err {
					t.Errorf("%s: %d pings, %+v, want %s", tt.name, len(d.List), d.Rejected, tt.err)
				}
				continue
			}
			for _, p := range d.List {
				got := ""
				if p.Attrs != "" {
					got = string(p.Attrs.AppendJSON(nil))
				}
				if got != tt.want || p.Attrs.Validate() != nil {
					t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
				}
			}
			if len(d.List) == 0 {
				t.Errorf("%s: %+v", tt.name, d.Rejected)
			}
		}
	}
}

// Of two keys attrs the last counts, and a ping without is not given those of another.
func TestAttributesOfEachPing(t *testing.T) {
	body := at("["+with(`"attrs":{"a":[]},"attrs":{"b":1}`)+","+good+","+with(`"attrs":{"a":1},"attrs":null`)+","+with(`"attrs":{"a":"x"}`)+"]", testNow)
	var d phone.Pings
	if err := decode(&d, []byte(body), testLimits, testNow); err != nil || len(d.List) != 4 {
		t.Fatal(err, d.Rejected)
	}
	for i, want := range []string{`{"b":1}`, "{}", "{}", `{"a":"x"}`} {
		if got := string(d.List[i].Attrs.AppendJSON(nil)); got != want {
			t.Errorf("ping %d has %s, want %s", i, got, want)
		}
	}
}

func TestAttributesAllocateNothing(t *testing.T) {
	one := with(`"attrs":{"fuel":0.4,"door":"open","on":true,"n":12}`)
	body := []byte(at("["+strings.Repeat(one+",", 99)+one+"]", testNow))
	var d phone.Pings
	r := phone.Request{Body: body, Limits: testLimits, Now: testNow}
	allocs := testing.AllocsPerRun(20, func() {
		if err := Protocol.Read(&r, &d); err != nil || len(d.List) != 100 || d.List[99].Attrs.Len() != 4 {
			t.Fatal(err, d.Rejected)
		}
	})
	if allocs > 4 { // the parser's own list
		t.Errorf("%v allocations for 100 pings", allocs)
	}
}

// The memory that attributes take is counted before a body is read.
func TestBoundOfAttributes(t *testing.T) {
	var worst []string
	for i := range 16 {
		worst = append(worst, fmt.Sprintf(`"%c":1`, 'a'+i))
	}
	one := with(`"attrs":{` + strings.Join(worst, ",") + `}`)
	body := []byte(at("["+strings.Repeat(one+",", 99)+one+"]", testNow))
	r := phone.Request{Body: body, Limits: testLimits, Now: testNow}
	var d phone.Pings
	if err := Protocol.Read(&r, &d); err != nil || len(d.List) != 100 {
		t.Fatal(err, d.Rejected)
	}
	taken := 0
	for i := range d.List {
		taken += len(d.List[i].Attrs)
	}
	if pings, copied := bound(&r); pings < 100 || copied < taken {
		t.Errorf("%d pings and %d bytes are reckoned with, and they take %d", pings, copied, taken)
	}
}
