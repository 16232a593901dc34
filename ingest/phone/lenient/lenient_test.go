package lenient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pingline"
	"pingline/ingest/phone"
)

func TestParseTime(t *testing.T) {
	for text, want := range map[string]int64{
		"1377177267": 1377177267000, "1377177267000": 1377177267000, "1504000000123": 1504000000123, "1377177267.25": 1377177267250, "0": 0, "-5": -5000,
		"2015-10-01T08:00:00-0700": 1443711600000, "2015-10-01T08:00:00-07:00": 1443711600000, "2015-10-01T08:00:00+02": 1443679200000,
		"2015-10-01T08:00:00Z": 1443686400000, "2015-10-01T08:00:00.123Z": 1443686400123, "2015-10-01T08:00:00.123456Z": 1443686400123,
		"2015-10-01T08:00:00": 1443686400000, "2015-10-01 08:00:00": 1443686400000, " 2015-10-01 08:00:00 ": 1443686400000,
		"2015-10-01T08:00:00 02:00": 1443679200000, "2015-10-01T08:00:00.5 0200": 1443679200500, "2015-10-01 08:00:00 +0200": 1443679200000,
		"2015-10-01 08:00:00 -0700": 1443711600000, "2015-10-01 08:00:00 +02:00": 1443679200000, "2015-10-01 08:00:00Z": 1443686400000,
		"9999999999": 9999999999000, "10000000000": 10000000000,
	} {
		if got, ok := ParseTime(text); !ok || got != want {
			t.Errorf("%q: %d %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "x", "NaN", "Inf", "1e300", "2015-13-01T08:00:00Z", "08:00", "null", strings.Repeat("9", 400),
		"2015-10-01T08:00:00+0", "2015-10-01T08:00:00 x", "2015-10-01T08:00:00Z0000", "2015-10-01T08:00:00" + strings.Repeat(" ", 30) + "Z"} {
		if got, ok := ParseTime(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestValue(t *testing.T) {
	v, err := Parse([]byte("\xef\xbb\xbf {\"n\":\"1.5\",\"m\":-2,\"x\":\"x\",\"a\":[1,[2],{\"k\":3}],\"t\":\"a\\u0041\\n\",\"b\":true,\"z\":null,\"n\":\"2.5\",\"o\":{\"p\":{}}} \n"))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := v.Member("n").Number(); !ok || n != 2.5 {
		t.Errorf("n is %v, %v", n, ok)
	}
	if n, ok := v.Member("m").Number(); !ok || n != -2 {
		t.Errorf("m is %v, %v", n, ok)
	}
	for _, key := range []string{"x", "a", "b", "z", "none"} {
		if n, ok := v.Member(key).Number(); ok {
			t.Errorf("%s is the number %v", key, n)
		}
	}
	if text := v.Member("t").Text(); text != "aA\n" || v.Member("m").Text() != "-2" || v.Member("o").Text() != "" {
		t.Errorf("t is %q", text)
	}
	if v.Member("z").Exists() || v.Member("none").Exists() || !v.Member("o").Member("p").IsObject() || !v.Member("b").True() || v.Member("x").True() {
		t.Error("what is there, and what is true, is told wrong")
	}
	var items []string
	v.Member("a").Items(func(item Value) bool {
		items = append(items, fmt.Sprint(item.IsArray(), item.IsObject(), item.Text()))
		return len(items) < 2
	})
	if got := strings.Join(items, "; "); got != "false false1; true false" {
		t.Errorf("items: %s", got)
	}
	n := 0
	v.Member("o").Items(func(Value) bool { n++; return true })
	v.Member("z").Items(func(Value) bool { n++; return true })
	if n != 1 {
		t.Errorf("what is no array has %d items", n)
	}
	for _, broken := range []string{"", "{", "{}x", "[1,]", `{"a":1,}`, "\x00"} {
		if _, err := Parse([]byte(broken)); !errors.Is(err, phone.ErrMalformed) {
			t.Errorf("%q: %v", broken, err)
		}
	}
}

// The levels of a body are counted before memory is taken for them; brackets in texts are none.
func TestDeepBodies(t *testing.T) {
	at := strings.Repeat("[", deepest) + `"[\"[{"` + strings.Repeat("]", deepest)
	if _, err := Parse([]byte(at)); err != nil {
		t.Errorf("%d levels: %v", deepest, err)
	}
	if _, err := Parse([]byte("[" + strings.Repeat("{}, ", 1000) + "0]")); err != nil {
		t.Errorf("many objects: %v", err)
	}
	if _, err := Parse([]byte("[" + at + "]")); !errors.Is(err, phone.ErrMalformed) || !strings.Contains(err.Error(), "64 levels") {
		t.Errorf("%d levels: %v", deepest+1, err)
	}
	body := []byte(strings.Repeat("[", 1<<16))
	if n := testing.AllocsPerRun(10, func() { _, _ = Parse(body) }); n > 4 {
		t.Errorf("%v allocations for 65,536 levels", n)
	}
}

func TestForm(t *testing.T) {
	for _, tt := range []struct{ query, body, want string }{
		{"lat=1&lon=2&lat=3", "", "lat=1 lon=2 lat=3"},
		{"token=x", "id=1&lat=2&", "token=x id=1 lat=2"},
		{"token=x", `{"id":"1&lat=2"}`, "token=x"},
		{"a=%2B02:00&b=c+d&e=%zz&&=&f", "", "a=+02:00 b=c d e=%zz = f="},
		{"", "a=\xff", ""},
		{"", "\nlat=1\r\n", "lat=1"},
	} {
		var got []string
		if err := Form(tt.query, []byte(tt.body), func(k, v string) { got = append(got, k+"="+v) }); err != nil {
			t.Errorf("%q: %v", tt.body, err)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q, %q: %q", tt.query, tt.body, got)
		}
	}
	for n, want := range map[int]error{mostParameters: nil, mostParameters + 1: phone.ErrMalformed} {
		got := 0
		err := Form("", []byte(strings.Repeat("a=1&", n)), func(string, string) { got++ })
		if !errors.Is(err, want) || err == nil && got != n || err != nil && got != 0 {
			t.Errorf("%d parameters: %v, %d were read", n, err, got)
		}
	}
}

func TestSegment(t *testing.T) {
	for path, want := range map[string]string{"/v1/owntracks/k": "k", "/v1/owntracks/": "", "/v1/owntracks": "", "/owntracks/a%20b/c": "a b", "/x": "", "/owntracks/%zz": "%zz"} {
		if got := Segment(path, "owntracks"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestDraft(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(d *phone.Draft)
		want string // the ping's battery and speed, if they are known
	}{
		{"percent", func(d *phone.Draft) { SetPercent(d, 29, true) }, "0.29 -"},
		{"unknown percent", func(d *phone.Draft) { SetPercent(d, -1, true) }, "- -"},
		{"a share", func(d *phone.Draft) { SetShare(d, 0.8, true) }, "0.8 -"},
		{"a share in percent", func(d *phone.Draft) { SetShare(d, 86, true) }, "0.86 -"},
		{"an unknown share", func(d *phone.Draft) { SetShare(d, -1, true) }, "- -"},
		{"a share of 101 %", func(d *phone.Draft) { SetShare(d, 101, true) }, "- -"},
		{"a speed", func(d *phone.Draft) { SetPositive(d, phone.Speed, 36*KilometresPerHour, true) }, "- 10"},
		{"no speed", func(d *phone.Draft) { SetPositive(d, phone.Speed, -1, true) }, "- -"},
		{"nothing", func(d *phone.Draft) { SetNumber(d, phone.Speed, 0, false) }, "- -"},
	} {
		var d phone.Draft
		var pings phone.Pings
		r := phone.Request{Rider: "key"}
		pings.Reset(phone.Limits{}.WithDefaults(), r.Now)
		SetRider(&d, &r, "path")
		SetTime(&d, &r, 0, false)
		d.SetNumber(phone.Lat, 1)
		d.SetNumber(phone.Lon, 2)
		tt.set(&d)
		if err := pings.Add(&d); err != nil || len(pings.List) != 1 || pings.List[0].Rider != "key" {
			t.Fatalf("%s: %v, %+v", tt.name, err, pings.Rejected)
		}
		p := pings.List[0]
		known := func(is bool, v float32) string {
			if !is {
				return "-"
			}
			return fmt.Sprint(v)
		}
		if got := known(p.Has(pingline.HasBattery), p.Battery) + " " + known(p.Has(pingline.HasSpeed), p.Speed); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestOptional(t *testing.T) {
	for text, want := range map[string]Optional{"": {}, " ": {}, "1.5": {1.5, true, true}, " -1 ": {-1, true, true}, "north": {0, true, false}} {
		var got Optional
		if got.Parse(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	v, err := Parse([]byte(`{"a":1.5,"b":"1.5","c":"north","d":null}`))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]Optional{"a": {1.5, true, true}, "b": {1.5, true, true}, "c": {0, true, false}, "d": {}, "e": {}} {
		var got Optional
		if got.Take(v.Member(key)); got != want {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
}

// The rider is who has the key; a name that is no rider's and no device's is left out.
func TestSetSender(t *testing.T) {
	for _, tt := range []struct{ key, name, rider, device string }{
		{"", "7", "7", ""}, {"ana", "7", "ana", "7"}, {"ana", "ana", "ana", ""}, {"ana", "", "ana", ""}, {"ana", "a\\b", "ana", ""},
	} {
		var d phone.Draft
		var pings phone.Pings
		r := phone.Request{Rider: tt.key, Now: time.UnixMilli(1_760_000_000_000)}
		pings.Reset(phone.Limits{}.WithDefaults(), r.Now)
		SetSender(&d, &r, tt.name)
		SetTime(&d, &r, 0, false)
		d.SetNumber(phone.Lat, 1)
		d.SetNumber(phone.Lon, 2)
		if err := pings.Add(&d); err != nil || len(pings.List) != 1 || pings.List[0].Rider != tt.rider || pings.List[0].Device != tt.device {
			t.Errorf("%+v: %v, %+v, rejected %+v", tt, err, pings.List, pings.Rejected)
		}
	}
}

func TestSetSOS(t *testing.T) {
	for alarm, want := range map[string]string{"": "", "sos": "sos", "SOS": "sos", "lowBattery, sos": "sos", "sosx": "", "alert message": ""} {
		var d phone.Draft
		var pings phone.Pings
		r := phone.Request{Rider: "r", Now: time.UnixMilli(1_760_000_000_000)}
		pings.Reset(phone.Limits{}.WithDefaults(), r.Now)
		SetRider(&d, &r)
		SetTime(&d, &r, 0, false)
		d.SetNumber(phone.Lat, 1)
		d.SetNumber(phone.Lon, 2)
		SetSOS(&d, alarm)
		if err := pings.Add(&d); err != nil || len(pings.List) != 1 || pings.List[0].Event != want {
			t.Errorf("%q: %v, %+v", alarm, err, pings.List)
		}
	}
}

// A mistake is told only where no ping has a verdict: a phone would send those again.
func TestMistake(t *testing.T) {
	wrong, other := &pingline.FieldError{Field: "rider_id", Reason: "a mistake"}, &pingline.FieldError{Field: "lat", Reason: "another"}
	for _, tt := range []struct {
		name   string
		got    phone.Outcome
		reject []error
		want   bool
	}{
		{"nothing", phone.Outcome{}, nil, false},
		{"the mistake", phone.Outcome{}, []error{other, wrong}, true},
		{"another reason", phone.Outcome{}, []error{other}, false},
		{"beside a ping", phone.Outcome{Judged: []pingline.Verdict{pingline.Held}}, []error{wrong}, false},
		{"beside a ping that was shed", phone.Outcome{Shed: []int32{1}}, []error{wrong}, false},
		{"a refusal", phone.Outcome{Err: phone.ErrMalformed}, nil, false},
	} {
		var pings phone.Pings
		pings.Reset(phone.Limits{}.WithDefaults(), time.UnixMilli(1_760_000_000_000))
		for _, err := range tt.reject {
			if err := pings.Reject(err); err != nil {
				t.Fatal(err)
			}
		}
		tt.got.Pings = &pings
		reply := phone.Reply{Status: 200}
		if got := Mistake(&reply, &tt.got, wrong); got != tt.want || got != (reply.Status == 400) || got != strings.Contains(string(reply.Body), "rider_id: a mistake") {
			t.Errorf("%s: %v, %d %s", tt.name, got, reply.Status, reply.Body)
		}
	}
}

// plain is a value as package json has it.
func plain(v Value) any {
	switch v.kind {
	case object:
		m := make(map[string]any)
		v.Members(func(key string, v Value) {
			if len(key) > 64 { // it may have its escapes
				_ = json.Unmarshal([]byte(`"`+key+`"`), &key)
			}
			m[strings.ToValidUTF8(strings.Clone(key), "\ufffd")] = plain(v)
		})
		return m
	case array:
		list := []any{}
		v.Items(func(item Value) bool { list = append(list, plain(item)); return true })
		return list
	case text:
		got, _ := appendText(nil, v.raw)
		var s string
		_ = json.Unmarshal(append(append([]byte{'"'}, v.raw...), '"'), &s)
		if utf8.Valid(v.raw) && string(got) != s {
			return string(got) // wrong
		}
		return s
	case number:
		f, err := strconv.ParseFloat(v.Text(), 64)
		if err != nil {
			return nil
		}
		return f
	case boolean:
		return v.True()
	}
	return nil
}

// Of any body the functions end, and read the same as package json.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c\u0000"}],"t":"2015-10-01T08:00:00-0700"}`))
	f.Add([]byte(`[[[[{}]]]]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := Parse(body)
		_ = Form(string(body), body, func(_, value string) { ParseTime(value) })
		if err != nil {
			return
		}
		var want any
		if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &want); err == nil && !reflect.DeepEqual(plain(v), want) {
			t.Errorf("%q: %v, want %v", body, plain(v), want)
		}
		var walk func(v Value, depth int)
		walk = func(v Value, depth int) {
			v.Time()
			v.True()
			if depth > 4 {
				return
			}
			v.Members(func(_ string, m Value) { walk(m, depth+1) })
			if v.IsArray() {
				v.Items(func(item Value) bool { walk(item, depth+1); return true })
			}
		}
		walk(v, 0)
	})
}

// A text is copied only if it has escapes, and a time takes no memory, so that a ping of
// twenty members stays within what a protocol may take.
func TestCosts(t *testing.T) {
	body := []byte(`{"a":1,"b":"text","c":{"d":[1,2]},"at":"2015-10-01T08:00:00-0700","ms":1443686400123,"on":true}`)
	v, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	if n := testing.AllocsPerRun(20, func() {
		v.Members(func(key string, m Value) {
			sum += len(key) + len(m.Text())
			switch key {
			case "a":
				f, _ := m.Number()
				sum += int(f)
			case "at", "ms":
				ms, _ := m.Time()
				sum += int(ms)
			case "on":
				sum += map[bool]int{true: 1}[m.True()]
			}
		})
	}); n > 4 {
		t.Errorf("%v allocations", n)
	}
}

// Most is what a protocol's Bound may be, for any body.
func TestMost(t *testing.T) {
	for _, body := range []string{"", "{", `{"\u0061\u0062":1}`, strings.Repeat(`\`, 1000), strings.Repeat("{", 1000)} {
		pings, copied := Most(&phone.Request{Body: []byte(body)})
		if pings > len(body) || copied > 16*len(body) || pings != strings.Count(body, "{") || copied < len(body) {
			t.Errorf("%.20q: %d pings, %d bytes", body, pings, copied)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name, key string
		names     []string
		trip      string
		want      string // rider, device and trip
	}{
		{"a phone", "", []string{"", " ", " phone ", "x"}, " t ", `"phone" "" "t"`},
		{"a phone of a known rider", "ana", []string{"", "phone"}, "", `"ana" "phone" ""`},
		{"a known rider", "ana", []string{"ana"}, "", `"ana" "" ""`},
		{"names that are no ids", "ana", []string{"a\\b"}, "t\x00", `"ana" "" ""`},
		{"nobody", "", []string{" "}, "t", "rider_id: missing"},
		{"a rider that is no id", "", []string{"a\\b"}, "", "rider_id: a backslash"},
	} {
		var d phone.Draft
		var pings phone.Pings
		r := phone.Request{Rider: tt.key}
		pings.Reset(phone.Limits{}.WithDefaults(), r.Now)
		if named := SetSender(&d, &r, tt.names...); named == (tt.want == "rider_id: missing") {
			t.Errorf("%s: named %v", tt.name, named)
		}
		SetTrip(&d, tt.trip)
		d.SetTime(r.Now.UnixMilli())
		d.SetNumber(phone.Lat, 1)
		d.SetNumber(phone.Lon, 2)
		if err := pings.Add(&d); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range pings.List {
			got = fmt.Sprintf("%q %q %q", p.Rider, p.Device, p.Trip)
		}
		for _, e := range pings.Rejected {
			got = e.Field + ": " + e.Reason
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestDegrees(t *testing.T) {
	for text, want := range map[string]float64{
		"5121.47965": 51 + 21.47965/60, "011.71463": 11.71463 / 60, "00011.71463": 11.71463 / 60, "11.5": 11.5 / 60, "17959.999": 179 + 59.999/60, "5121": 51.35, "0000.0": 0,
	} {
		if got, ok := degrees(text); !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%q: %v %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "1", ".5", "1.5", "-1121.5", "5160.0", "51a1.0", "5121.4e9", "NaN", "+121.5", "99999999999999999999921.5"} {
		if got, ok := degrees(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}
