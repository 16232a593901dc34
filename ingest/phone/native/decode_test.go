package native

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/phone"
	"pingline/track/tracktest"
)

var (
	testNow    = time.UnixMilli(1_760_000_000_123)
	testLimits = phone.Limits{}.WithDefaults()
)

// good is a valid ping; see at.
const good = `{"rider_id":"r-1","ts":NOW,"lat":41.1,"lon":-8.6}`

// at puts times around now, in ms, into the body of a test.
func at(body string, now time.Time) string {
	ms := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).UnixMilli(), 10) }
	return strings.NewReplacer("NOW", ms(0), "FUTURE", ms(time.Hour), "ANCIENT", ms(-721*time.Hour)).Replace(body)
}

// with returns a ping that is good but for what is added behind its fields.
func with(fields string) string { return strings.TrimSuffix(good, "}") + "," + fields + "}" }

// malformed holds bodies with something wrong in them. wantError is the error
// of the whole body or, where wantIndex is 0 or more, of the first ping that is
// rejected, as "field: reason".
var malformed = []struct {
	name       string
	body       string // see at
	wantStatus int
	wantIndex  int
	wantError  string
}{
	// Neither objects nor arrays.
	{"a word", `hello`, 400, -1, `syntax error at offset 0: want { or [, got "h"`},
	{"a number", ` 42`, 400, -1, `syntax error at offset 1: want { or [, got "4"`},
	{"a string", `"ping"`, 400, -1, `syntax error at offset 0: want { or [, got "\""`},
	{"null", `null`, 400, -1, `syntax error at offset 0: want { or [, got "n"`},
	{"a form", `lat=41.1&lon=-8.6`, 400, -1, `syntax error at offset 0: want { or [, got "l"`},
	{"GPX", "<?xml version=\"1.0\"?>\n<gpx>\n</gpx>\n", 400, -1, `syntax error at offset 0: want { or [, got "<"`},
	{"UTF-16", "\xff\xfe{\x00}\x00", 400, -1, `syntax error at offset 0: want { or [, got "\xff"`},
	{"gzip", "\x1f\x8b\x08\x00", 400, -1, `the body is compressed: add the header Content-Encoding: gzip`},
	{"zstd", "\x28\xb5\x2f\xfd\x04", 400, -1, `the body is compressed: add the header Content-Encoding: zstd`},
	{"a NUL", "\x00", 400, -1, `syntax error at offset 0: want { or [, got "\x00"`},

	// Syntax.
	{"a lone brace", `{`, 400, -1, `syntax error at offset 1: want a key, got the end`},
	{"a lone bracket", `[`, 400, -1, `syntax error at offset 1: want a value, got the end`},
	{"an object cut off in a key", `{"rider`, 400, -1, `syntax error at offset 7: want a quote, got the end`},
	{"an object cut off behind a key", `{"rider_id"`, 400, -1, `syntax error at offset 11: want :, got the end`},
	{"an object cut off in a string", `{"rider_id":"r-`, 400, -1, `syntax error at offset 15: want a quote, got the end`},
	{"an object cut off in a number", `{"lat":41.`, 400, -1, `syntax error at offset 10: want a digit, got the end`},
	{"an object without its brace", strings.TrimSuffix(good, "}"), 400, -1, `syntax error at offset 58: want , or }, got the end`},
	{"a bracket that closes a brace", `{"lat":1]`, 400, -1, `syntax error at offset 8: want , or }, got "]"`},
	{"a comma at the end of an object", `{"lat":1,}`, 400, -1, `syntax error at offset 9: want a key, got "}"`},
	{"a comma at the end of an array", `[` + good + `,]`, 400, -1, `syntax error at offset 61: want a value, got "]"`},
	{"no comma", `{"lat":1 "lon":2}`, 400, -1, `syntax error at offset 9: want , or }, got "\""`},
	{"a key without quotes", `{lat:1}`, 400, -1, `syntax error at offset 1: want a key, got "l"`},
	{"single quotes", `{'lat':1}`, 400, -1, `syntax error at offset 1: want a key, got "'"`},
	{"a comment", `{/*lat*/"lat":1}`, 400, -1, `syntax error at offset 1: want a key, got "/"`},
	{"nan", `{"lat":nan}`, 400, -1, `syntax error at offset 7: want null, got "n"`},
	{"-NaN", `{"lat":-NaN}`, 400, -1, `syntax error at offset 8: want a digit, got "N"`},
	{"Inf", `{"speed":Inf}`, 400, -1, `syntax error at offset 9: want a value, got "I"`},
	{"+Infinity", `{"speed":+Infinity}`, 400, -1, `syntax error at offset 9: want a value, got "+"`},
	{"half of -Infinity", `{"speed":-Infini`, 400, -1, `syntax error at offset 10: want a digit, got "I"`},
	{"more behind NaN", `{"speed":NaN1}`, 400, -1, `syntax error at offset 12: want , or }, got "1"`},
	{"a plus sign", `{"lat":+1}`, 400, -1, `syntax error at offset 7: want a value, got "+"`},
	{"a leading zero", `{"lat":041}`, 400, -1, `syntax error at offset 8: want no digit behind a leading zero, got "4"`},
	{"no digit before the point", `{"lat":.5}`, 400, -1, `syntax error at offset 7: want a value, got "."`},
	{"no digit behind the point", `{"lat":1.}`, 400, -1, `syntax error at offset 9: want a digit, got "}"`},
	{"no digit in the exponent", `{"lat":1e+}`, 400, -1, `syntax error at offset 10: want a digit, got "}"`},
	{"a comma in a number", `{"lat":1,5}`, 400, -1, `syntax error at offset 9: want a key, got "5"`},
	{"a hexadecimal number", `{"lat":0x29}`, 400, -1, `syntax error at offset 8: want , or }, got "x"`},
	{"a misspelt null", `{"speed":nul}`, 400, -1, `syntax error at offset 9: want null, got "n"`},
	{"True", `{"x":True}`, 400, -1, `syntax error at offset 5: want a value, got "T"`},
	{"a control character in a string", "{\"rider_id\":\"r\x01\"}", 400, -1, `syntax error at offset 14: want no control character in a string, got "\x01"`},
	{"a line break in a string", "{\"x\":\"a\nb\"}", 400, -1, `syntax error at offset 7: want no control character in a string, got "\n"`},
	{"an escape that does not exist", `{"rider_id":"r\x31"}`, 400, -1, `syntax error at offset 14: want a valid escape, got "\\"`},
	{"half an escape", `{"rider_id":"\u12"}`, 400, -1, `syntax error at offset 13: want a valid escape, got "\\"`},
	{"an escape that is not hexadecimal", `{"rider_id":"\u12g4"}`, 400, -1, `syntax error at offset 13: want a valid escape, got "\\"`},
	{"a backslash at the end", `{"rider_id":"\`, 400, -1, `syntax error at offset 13: want a valid escape, got "\\"`},
	{"two objects on one line", `{} {}`, 400, -1, `syntax error at offset 3: want the end, got "{"`},
	{"two arrays", "[" + good + "]\n[" + good + "]", 400, -1, `syntax error at offset 62: want the end, got "["`},
	{"deep arrays", strings.Repeat("[", 100_000), 400, -1, `nested deeper than 64 levels at offset 65`},
	{"deep objects", `{"x":` + strings.Repeat(`{"x":`, 100_000), 400, -1, `nested deeper than 64 levels at offset 325`},
	{"65 levels of what is ignored", with(`"x":` + strings.Repeat("[", 65) + strings.Repeat("]", 65)), 400, -1, `nested deeper than 64 levels at offset 127`},
	{"a list that is an object", `{"pings":{}}`, 400, -1, `syntax error at offset 9: want [ behind "pings", got "{"`},
	{"a list that is a number", `{"pings":3}`, 400, -1, `syntax error at offset 9: want [ behind "pings", got "3"`},
	{"something behind the list", `{"pings":[]}]`, 400, -1, `syntax error at offset 12: want the end, got "]"`},

	// A broken tail behind good pings, in each form.
	{"a broken tail behind an object", good + `}`, 400, -1, `syntax error at offset 59: want the end, got "}"`},
	{"a broken tail in an array", `[` + good + `,` + good + `,{"rider_id":"r-`, 400, -1, `syntax error at offset 136: want a quote, got the end`},
	{"a broken tail in a list", `{"pings":[` + good + `,` + good + `,{"lat":nil}]}`, 400, -1, `syntax error at offset 137: want null, got "n"`},
	{"a broken tail in lines", good + "\n" + good + "\n" + `{"rider_id":"r-`, 200, 2, `syntax error at offset 15: want a quote, got the end`},
	{"a broken list over several lines", "{\"pings\":[\n" + good + ",\n" + good + "\n" + good + "]}", 400, -1, `syntax error at offset 132: want , or ], got "{"`},
	{"a broken object before a list", `{"sent":nil,"pings":[` + "\n" + good + ",\n" + good + "\n]}", 400, -1, `syntax error at offset 8: want null, got "n"`},
	{"a broken object over several lines", "{\n \"rider_id\": \"r-1\",\n \"ts\": NOW,\n \"lat\": 41.1\n \"lon\": -8.6\n}", 400, -1, `syntax error at offset 58: want , or }, got "\""`},

	// Lines.
	{"a broken first line", `{"rider_id":"r-1","ts":17` + "\n" + good, 200, 0, `syntax error at offset 25: want , or }, got the end`},
	{"a first line cut off behind a colon", `{"rider_id":` + "\n" + good + "\n" + good, 200, 0, `syntax error at offset 12: want a value, got the end`},
	{"a first line that is no object", "hello\n" + good, 200, 0, `syntax error at offset 0: want a value, got "h"`},
	{"a line that is a list", good + "\n[" + good + "]\n", 200, 1, `not an object`},
	{"a line with two pings", good + good + "\n" + good, 200, 0, `syntax error at offset 59: want the end, got "{"`},
	{"a line behind blank ones", "\n\n" + good + "\n\r\n \nnull\n", 200, 1, `not an object`},
	{"lines of nothing but rubbish", "{}\nrubbish\n{", 400, 0, `rider_id: missing`},

	// Pings that are no objects.
	{"an array of a number", `[1]`, 400, 0, `not an object`},
	{"null among pings", `[` + good + `,null]`, 200, 1, `not an object`},
	{"an array in an array", `[[` + good + `]]`, 400, 0, `not an object`},
	{"a string in a list", `{"pings":["ping",` + good + `]}`, 200, 0, `not an object`},

	// Fields that are missing.
	{"an empty object", `{}`, 400, 0, `rider_id: missing`},
	{"no rider", `{"ts":NOW,"lat":41.1,"lon":-8.6}`, 400, 0, `rider_id: missing`},
	{"no time", `{"rider_id":"r-1","lat":41.1,"lon":-8.6}`, 400, 0, `ts: missing`},
	{"no latitude", `{"rider_id":"r-1","ts":NOW,"lon":-8.6}`, 400, 0, `lat: missing`},
	{"no longitude", `{"rider_id":"r-1","ts":NOW,"lat":41.1}`, 400, 0, `lon: missing`},
	{"null in a required field", `{"rider_id":"r-1","ts":null,"lat":41.1,"lon":-8.6}`, 400, 0, `ts: missing`},
	{"keys in another case", `{"Rider_ID":"r-1","TS":NOW,"LAT":41.1,"LON":-8.6}`, 400, 0, `rider_id: missing`},
	{"a list's key in another case", `{"Pings":[` + good + `]}`, 400, 0, `rider_id: missing`},
	{"a key with a space", `{"rider_id":"r-1","ts ":NOW,"lat":41.1,"lon":-8.6}`, 400, 0, `ts: missing`},
	{"null that takes a value back", with(`"lat":null`), 400, 0, `lat: missing`},

	// Wrong types.
	{"a number for a rider", with(`"rider_id":1`), 400, 0, `rider_id: not a string`},
	{"a number in quotes", with(`"lat":"41.1"`), 400, 0, `lat: not a number`},
	{"an array for a number", with(`"lon":[-8.6]`), 400, 0, `lon: not a number`},
	{"true for a time", with(`"ts":true`), 400, 0, `ts: neither ms since 1970 nor an RFC 3339 time in quotes`},
	{"ms in quotes", with(`"ts":"NOW"`), 400, 0, `ts: a number in quotes: send ms since 1970 without them`},
	{"a time that is NaN", with(`"ts":NaN`), 400, 0, `ts: neither ms since 1970 nor an RFC 3339 time in quotes`},
	{"a latitude that is NaN", with(`"lat":NaN`), 400, 0, `lat: not in [-90, 90]`},
	{"a longitude that is -Infinity", with(`"lon":-Infinity`), 400, 0, `lon: not in [-180, 180]`},
	{"NaN for a rider", with(`"rider_id":NaN`), 400, 0, `rider_id: not a string`},
	{"a position that rounds to 0,0", with(`"lat":4e-8,"lon":-4.9e-8`), 400, 0, `lat: position 0,0 is refused`},
	{"a date without a time", with(`"ts":"2025-10-09"`), 400, 0, `ts: neither ms since 1970 nor an RFC 3339 time in quotes`},
	{"a time without a zone", with(`"ts":"2025-10-09T08:53:20"`), 400, 0, `ts: no time zone: write Z or an offset such as +01:00 behind the time`},
	{"an offset of strftime", with(`"ts":"2026-01-01T00:00:00+0000"`), 400, 0, `ts: the offset of its time zone needs a colon: +01:00`},
	{"an offset west", with(`"ts":"2026-01-01T00:00:00.123-0530"`), 400, 0, `ts: the offset of its time zone needs a colon: +01:00`},
	{"an offset of four letters", with(`"ts":"2026-01-01T00:00:00+abcd"`), 400, 0, `ts: neither ms since 1970 nor an RFC 3339 time in quotes`},
	{"a time of Python's str", with(`"ts":"2025-10-09 08:53:20.123456"`), 400, 0, `ts: no time zone: write Z or an offset such as +01:00 behind the time`},
	{"a 13th month", with(`"ts":"2025-13-09T08:53:20Z"`), 400, 0, `ts: neither ms since 1970 nor an RFC 3339 time in quotes`},
	{"a speed in quotes", with(`"speed":"7"`), 400, 0, `speed: not a number`},
	{"false for a battery", with(`"battery":false`), 400, 0, `battery: not a number`},
	{"an object for an altitude", with(`"altitude":{"m":5}`), 400, 0, `altitude: not a number`},
	{"a number for a device", with(`"device_id":7`), 400, 0, `device_id: not a string`},
	{"an array for an event", with(`"event":["sos"]`), 400, 0, `event: not a string`},
	{"true for a trip", with(`"trip_id":true`), 400, 0, `trip_id: not a string`},
	{"a second value of a wrong type", with(`"speed":7,"speed":"7"`), 400, 0, `speed: not a number`},

	// Values out of range.
	{"an empty rider", with(`"rider_id":""`), 400, 0, `rider_id: length 0 not in [1, 128]`},
	{"a rider of 129 bytes", with(`"rider_id":"` + strings.Repeat("r", 129) + `"`), 400, 0, `rider_id: length 129 not in [1, 128]`},
	{"a space behind a rider", with(`"rider_id":"r 1 "`), 400, 0, `rider_id: white space at an end`},
	{"a line break in a rider", with(`"rider_id":"r\n1"`), 400, 0, `rider_id: a control character, U+000A`},
	{"invalid UTF-8 in a rider", with("\"rider_id\":\"r\xff\""), 400, 0, `rider_id: not UTF-8`},
	{"half a surrogate pair in a rider", with(`"rider_id":"r\ud83d"`), 400, 0, `rider_id: a character that was not readable, U+FFFD`},
	{"a folder for a rider", with(`"rider_id":".."`), 400, 0, `rider_id: ".." is not allowed, as it means a folder in a path`},
	{"a backslash in a device", with(`"device_id":"a\\b"`), 400, 0, `device_id: a backslash`},
	{"a capital in an event", with(`"event":"SOS"`), 400, 0, `event: characters other than a-z 0-9 _`},
	{"an event of 33 bytes", with(`"event":"` + strings.Repeat("e", 33) + `"`), 400, 0, `event: length 33 not in [1, 32]`},
	{"a tab in a trip", with(`"trip_id":"a\tb"`), 400, 0, `trip_id: a control character, U+0009`},
	{"the future", with(`"ts":FUTURE`), 400, 0, `ts: more than 2 min ahead`},
	{"the year 9999", with(`"ts":"9999-12-31T23:59:59Z"`), 400, 0, `ts: more than 2 min ahead`},
	{"an ancient ping", with(`"ts":ANCIENT`), 400, 0, `ts: more than 30 d behind`},
	{"seconds for ms", with(`"ts":1760000000`), 400, 0, `ts: more than 30 d behind: 1760000000 looks like s since 1970; send ms`},
	{"a negative time", with(`"ts":-1`), 400, 0, `ts: more than 30 d behind`},
	{"a time beyond 64 bits", with(`"ts":99999999999999999999`), 400, 0, `ts: more than 2 min ahead`},
	{"a time beyond any float", with(`"ts":1e400`), 400, 0, `ts: more than 2 min ahead`},
	{"a negative time beyond 64 bits", with(`"ts":-1e99`), 400, 0, `ts: more than 30 d behind`},
	{"a latitude beyond the pole", with(`"lat":90.0000001`), 400, 0, `lat: not in [-90, 90]`},
	{"a latitude beyond the other pole", with(`"lat":-90.0000001`), 400, 0, `lat: not in [-90, 90]`},
	{"a longitude beyond the date line", with(`"lon":180.0000001`), 400, 0, `lon: not in [-180, 180]`},
	{"a latitude beyond any float", with(`"lat":1e400`), 400, 0, `lat: not in [-90, 90]`},
	{"a longitude of a thousand digits", with(`"lon":-` + strings.Repeat("9", 1000)), 400, 0, `lon: not in [-180, 180]`},
	{"0,0", with(`"lat":0,"lon":0.0`), 400, 0, `lat: position 0,0 is refused`},
	{"-0,-0", with(`"lat":-0,"lon":-0e9`), 400, 0, `lat: position 0,0 is refused`},

	// Many at once.
	{"one bad of 10,000", `[` + strings.Repeat(good+",", 4321) + with(`"lat":91`) + strings.Repeat(","+good, 5678) + `]`, 200, 4321, `lat: not in [-90, 90]`},
	{"more pings than are allowed", `[` + strings.Repeat(good+",", 20_000) + good + `]`, 413, -1, `more than 20000 pings: send them in parts`},
	{"more in a list than are allowed", `{"pings":[` + strings.Repeat("0,", 20_000) + `0]}`, 413, -1, `more than 20000 pings: send them in parts`},
	{"more lines than are allowed", strings.Repeat("{}\n", 20_001), 413, -1, `more than 20000 pings: send them in parts`},
}

// decode has d read a body.
func decode(d *phone.Pings, body []byte, lim phone.Limits, now time.Time) error {
	return Protocol.Read(&phone.Request{Body: body, Limits: lim, Now: now}, d)
}

// countsOf says how many pings each field was the reason to reject, and in how many
// it was out of range.
func countsOf(d *phone.Pings) (text string) {
	d.EachReason(func(field string, n int) { text += fmt.Sprint(n, " for ", field, "; ") })
	d.EachOutOfRange(func(field string, n int) { text += fmt.Sprint(n, " of ", field, " out of range; ") })
	return text
}

// statusOf returns the status that a body is answered with, short of overload.
func statusOf(d *phone.Pings, err error) int {
	switch {
	case err != nil:
		return phone.Status(err)
	case d.Received > 0 && len(d.List) == 0:
		return 400
	}
	return 200
}

// text returns a rejection as the table of malformed bodies has it.
func textOf(r phone.Rejection) string {
	if r.Field == "" {
		return r.Reason
	}
	return r.Field + ": " + r.Reason
}

func TestDecodeMalformed(t *testing.T) {
	if len(malformed) < 60 {
		t.Errorf("%d malformed bodies, want 60 at least", len(malformed))
	}
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			var d phone.Pings
			err := decode(&d, []byte(at(tt.body, testNow)), testLimits, testNow)
			if got := statusOf(&d, err); got != tt.wantStatus {
				t.Errorf("status = %d (%v), want %d", got, err, tt.wantStatus)
			}
			switch {
			case tt.wantIndex < 0 && (err == nil || err.Error() != tt.wantError):
				t.Errorf("error = %v, want %s", err, tt.wantError)
			case tt.wantIndex < 0 && (d.Received > 0 || len(d.List) > 0 || len(d.Rejected) > 0):
				t.Errorf("kept %+v of a body that is refused", d)
			case tt.wantIndex >= 0 && len(d.Rejected) == 0:
				t.Errorf("nothing rejected (%v), want ping %d: %s", err, tt.wantIndex, tt.wantError)
			case tt.wantIndex >= 0 && (d.Rejected[0].Index != tt.wantIndex || textOf(d.Rejected[0]) != tt.wantError):
				t.Errorf("rejected %+v, want ping %d: %s", d.Rejected[0], tt.wantIndex, tt.wantError)
			}
			checkDecoded(t, &d)
		})
	}
}

// checkDecoded checks what holds for every phone.Pings.
func checkDecoded(t *testing.T, d *phone.Pings) {
	t.Helper()
	if len(d.Index) != len(d.List) || !slices.IsSorted(d.Index) {
		t.Errorf("%d indexes for %d pings: %v", len(d.Index), len(d.List), d.Index)
	}
	rejected := 0
	d.EachReason(func(_ string, n int) { rejected += n })
	if rejected != d.Received-len(d.List) {
		t.Errorf("reasons for %d rejected pings, want %d - %d", rejected, d.Received, len(d.List))
	}
	if want := min(rejected, phone.MaxRejections); len(d.Rejected) != want {
		t.Errorf("%d rejections with text, want %d", len(d.Rejected), want)
	}
	for _, r := range d.Rejected {
		if _, taken := slices.BinarySearch(d.Index, int32(r.Index)); taken || r.Index < 0 || r.Index >= d.Received || r.Reason == "" {
			t.Errorf("rejection %+v of %d pings, of which %v are valid", r, d.Received, d.Index)
		}
	}
}

func TestDecodeForms(t *testing.T) {
	list := strings.Repeat(good+",", 2) + good
	lines := strings.Repeat(good+"\n", 2) + good
	pretty := "{\n\t\"rider_id\": \"r-1\",\n\t\"ts\": NOW,\n\t\"x\":\n\t{\n\t},\n\t\"lat\": 41.1,\n\t\"lon\": -8.6\n}\n"
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"nothing", "", 0},
		{"white space", " \r\n\t", 0},
		{"a byte order mark", "\ufeff", 0},
		{"an empty array", "[]", 0},
		{"an empty array with spaces", " [ \n ] ", 0},
		{"an empty list", `{"pings":[]}`, 0},
		{"a list that is null", `{"pings":null}`, 0},
		{"an object", good, 1},
		{"an object behind a byte order mark", "\ufeff" + good, 1},
		{"an object over several lines", pretty, 1},
		{"an object over lines that end in CRLF", strings.ReplaceAll(pretty, "\n", "\r\n"), 1},
		{"an array", "[" + list + "]", 3},
		{"an array over several lines", "[\n" + strings.ReplaceAll(list, "},", "}\n,\n") + "\n]\n", 3},
		{"a list", `{"pings":[` + list + `]}`, 3},
		{"a list behind other keys", `{"version":1,"device":{"os":"x"},"pings":[` + list + `]}`, 3},
		{"a list before other keys", `{"pings":[` + list + `],"lat":"x","pings2":[1]}`, 3},
		{"a list over several lines", "{\n\"pings\":\n[\n" + strings.ReplaceAll(list, "},", "},\n") + "\n]\n}\n", 3},
		{"a list in an escaped key", `{"\u0070ings":[` + list + `]}`, 3},
		{"two lists, of which the last counts", `{"pings":[` + good + `,7],"pings":[` + list + `]}`, 3},
		{"lines", lines, 3},
		{"lines with a newline at the end", lines + "\n", 3},
		{"lines that end in CRLF", strings.ReplaceAll(lines, "\n", "\r\n"), 3},
		{"lines with blank ones", "\n \n" + strings.ReplaceAll(lines, "\n", "\n\n\t\r\n") + "\n\n", 3},
		{"lines behind a byte order mark", "\ufeff" + lines, 3},
		{"lines of a rider called pings", strings.ReplaceAll(lines, "r-1", "pings"), 3},
		{"unknown keys", with(`"x":[1,{"y":[true,false,null,"\u00e9\ud83d\ude80\/\"",-1.5e-3,{}]}],"":0,"lat ":1`), 1},
		{"a ping's key pings", "[" + with(`"pings":5`) + "," + with(`"pings":[7]`) + "," + with(`"pings":null`) + "]", 3},
		{"64 levels of what is ignored", with(`"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64)), 1},
		{"escaped keys and values", strings.NewReplacer("lat", `l\u0061t`, "r-1", `\u0072\u002D1`).Replace(good), 1},
		{"a key given twice", with(`"lat":[],"lat":41.1,"rider_id":7,"rider_id":"r-1"`), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d phone.Pings
			if err := decode(&d, []byte(at(tt.body, testNow)), testLimits, testNow); err != nil {
				t.Fatal(err)
			}
			if d.Received != tt.want || len(d.List) != tt.want {
				t.Errorf("decoded %d of %d pings, want %d: %+v", len(d.List), d.Received, tt.want, d.Rejected)
			}
			want := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: testNow.UnixMilli(), LatE7: 411000000, LonE7: -86000000}}
			for i, p := range d.List {
				if p.Rider = strings.ReplaceAll(p.Rider, "pings", "r-1"); p != want {
					t.Errorf("ping %d = %+v, want %+v", i, p, want)
				}
			}
			checkDecoded(t, &d)
		})
	}
}

// decodeOne decodes a body of one valid ping.
func decodeOne(t *testing.T, body string) (pingline.Ping, *phone.Pings) {
	t.Helper()
	var d phone.Pings
	if err := decode(&d, []byte(at(body, testNow)), testLimits, testNow); err != nil {
		t.Fatal(err)
	}
	if len(d.List) != 1 {
		t.Fatalf("decode %s: %+v", body, d.Rejected)
	}
	return d.List[0], &d
}

func TestDecodeEveryField(t *testing.T) {
	p, d := decodeOne(t, `{"trip_id":"t:1","event":"trip_start","device_id":"d@2","battery":0.81,"altitude":-3.4,"accuracy":5,
		"heading":183.5,"speed":7.42,"lon":-8.629105,"lat":41.157812,"ts":"2025-10-09T08:53:20.1239Z","rider_id":"r-1"}`)
	want := pingline.Ping{Rider: "r-1", Device: "d@2", Event: "trip_start", Trip: "t:1", Fix: pingline.Fix{
		At: 1_760_000_000_123, LatE7: 411578120, LonE7: -86291050,
		Speed: 7.42, Heading: 183.5, Accuracy: 5, Altitude: -3.4, Battery: 0.81,
		Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasAltitude | pingline.HasBattery,
	}}
	if p != want {
		t.Errorf("decoded %+v, want %+v", p, want)
	}
	d.EachOutOfRange(func(field string, n int) { t.Errorf("%d × %s out of range", n, field) })
}

// Optional names that are empty are absent: some phones send all that they know of.
func TestDecodeEmptyNames(t *testing.T) {
	p, _ := decodeOne(t, with(`"device_id":"","event":"","trip_id":""`))
	if p.Device != "" || p.Event != "" || p.Trip != "" {
		t.Errorf("decoded %+v", p)
	}
}

func TestDecodeIDs(t *testing.T) {
	p, _ := decodeOne(t, with(`"rider_id":"Zo\u00eb +49 {7}|\ud83d\ude80","device_id":"a,b=\"c\"","trip_id":"'x' / y"`))
	if p.Rider != "Zoë +49 {7}|🚀" || p.Device != `a,b="c"` || p.Trip != "'x' / y" {
		t.Errorf("decoded %+v", p)
	}
}

// One value that is no number loses its ping, and not the array.
func TestDecodeKeepsThePingsBesideNaN(t *testing.T) {
	var d phone.Pings
	if err := decode(&d, []byte(at("["+good+","+with(`"lat":NaN`)+","+good+"]", testNow)), testLimits, testNow); err != nil || len(d.List) != 2 || len(d.Rejected) != 1 {
		t.Errorf("%d valid, rejected %+v, %v", len(d.List), d.Rejected, err)
	}
}

func TestDecodeTimes(t *testing.T) {
	for _, ts := range []string{
		"1760000000123", "1760000000123.0", "1760000000123.00000000000000", "1.760000000123e12", "1.760000000123E+12",
		"1760000000123000e-3", "0.001760000000123e15", "17600000001230000000000000000e-16",
		"1760000000123.906", "1760000000123.9999999999999999", "17600000001239060000000000000000e-19",
		`"2025-10-09T08:53:20.123Z"`, `"2025-10-09T08:53:20.123999999Z"`, `"2025-10-09T10:53:20.123+02:00"`,
		`"2025-10-09T03:08:20.123-05:45"`, `"2025-10-09T08:53:20.123\u005A"`,
	} {
		if p, _ := decodeOne(t, with(`"ts":`+ts)); p.At != 1_760_000_000_123 {
			t.Errorf("ts %s = %d, want 1760000000123", ts, p.At)
		}
	}
}

func TestDecodePositionsAreTheNearest(t *testing.T) {
	for _, tt := range []struct {
		lat  string
		want int32
	}{
		{"41.157812", 411578120},
		{"41.15781249", 411578125},
		{"41.157812549999", 411578125},
		{"41.15781255000000000000000000000000000001", 411578126},
		{"4.1157812e1", 411578120},
		{"411578120000000000000000e-22", 411578120},
		{"0.000000041157812e9", 411578120},
		{"48.163506599999998", 481635066},
		{"90", 900000000},
		{"-90.000000000000000000", -900000000},
		{"-0.0000001", -1},
		{"1e-400", 0},
		{"1e-99999999999999999999", 0},
		{"0e99999999999999999999", 0},
	} {
		if p, _ := decodeOne(t, with(`"lat":`+tt.lat)); p.LatE7 != tt.want {
			t.Errorf("lat %s = %d, want %d", tt.lat, p.LatE7, tt.want)
		}
	}
}

func TestDecodeOptionalNumbers(t *testing.T) {
	for _, tt := range []struct {
		name, fields string
		want         pingline.Known
		outOfRange   string
	}{
		{"absent", `"x":0`, 0, ""},
		{"null", `"speed":null,"heading":null,"accuracy":null,"altitude":null,"battery":null`, 0, ""},
		{"-1 for unknown", `"speed":-1,"heading":-1.0,"accuracy":-1,"battery":-1`, 0, ""},
		{"minus infinity for unknown", `"speed":-1e999`, 0, ""},
		{"-1 is an altitude", `"altitude":-1`, pingline.HasAltitude, ""},
		{"zero is known", `"speed":0,"heading":0,"accuracy":0,"altitude":0,"battery":0`, 31, ""},
		{"minus zero is zero", `"speed":-0.0`, pingline.HasSpeed, ""},
		{"the ends of the ranges", `"speed":1000,"heading":360,"accuracy":1e6,"altitude":-1e5,"battery":1`, 31, ""},
		{"too fast", `"speed":1000.1`, 0, "speed"},
		{"beyond any float", `"speed":1e400`, 0, "speed"},
		{"a full turn and more", `"heading":360.5,"speed":3`, pingline.HasSpeed, "heading"},
		{"hardly a fix", `"accuracy":1000001`, 0, "accuracy"},
		{"below the sea", `"altitude":-100001`, 0, "altitude"},
		{"per cent", `"battery":81`, 0, "battery"},
		{"no number", `"speed":NaN,"altitude":NaN,"battery":1`, pingline.HasBattery, "speedaltitude"},
		{"infinite", `"heading":Infinity,"x":[NaN,{"y":-Infinity}],"altitude":-Infinity`, 0, "headingaltitude"},
		{"minus infinity in words", `"speed":-Infinity`, 0, ""},
		{"the last of two counts", `"battery":81,"battery":0.81`, pingline.HasBattery, ""},
		{"null takes a value back", `"battery":0.81,"battery":null`, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, d := decodeOne(t, with(tt.fields))
			if p.Known != tt.want {
				t.Errorf("known = %b, want %b", p.Known, tt.want)
			}
			got := ""
			d.EachOutOfRange(func(field string, n int) { got += strings.Repeat(field, n) })
			if got != tt.outOfRange {
				t.Errorf("out of range: %q, want %q", got, tt.outOfRange)
			}
		})
	}
}

func TestDecodeCountsRejectedPingsOnce(t *testing.T) {
	const n = 250
	var d phone.Pings
	body := "[" + strings.Repeat(with(`"lat":91`)+","+with(`"speed":2000`)+",", n) + "7]"
	if err := decode(&d, []byte(at(body, testNow)), testLimits, testNow); err != nil {
		t.Fatal(err)
	}
	if d.Received != 2*n+1 || len(d.List) != n || d.Index[n-1] != 2*n-1 {
		t.Errorf("decoded %d of %d pings, the last at %d", len(d.List), d.Received, d.Index[n-1])
	}
	reasons, outOfRange := map[string]int{}, map[string]int{}
	d.EachReason(func(field string, n int) { reasons[field] += n })
	d.EachOutOfRange(func(field string, n int) { outOfRange[field] += n })
	if len(reasons) != 2 || reasons["lat"] != n || reasons["syntax"] != 1 {
		t.Errorf("reasons = %v, want %d × lat and one of syntax", reasons, n)
	}
	if len(outOfRange) != 1 || outOfRange["speed"] != n {
		t.Errorf("out of range = %v, want %d × speed", outOfRange, n)
	}
	checkDecoded(t, &d)
	if d.Clear(); d.Received != 0 || len(d.List) != 0 || len(d.Index) != 0 || len(d.Rejected) != 0 {
		t.Errorf("after Clear: %+v", d)
	}
	checkDecoded(t, &d)
}

func TestDecodeAgainForgetsTheBodyBefore(t *testing.T) {
	var d phone.Pings
	for _, body := range []string{"[" + good + "," + with(`"event":"sos","speed":3,"lat":2`) + ",5]", good, "[1,2", "[]"} {
		var fresh phone.Pings
		err := decode(&d, []byte(at(body, testNow)), testLimits, testNow)
		if ferr := decode(&fresh, []byte(at(body, testNow)), testLimits, testNow); fmt.Sprint(err) != fmt.Sprint(ferr) {
			t.Errorf("decode %s again: %v, want %v", body, err, ferr)
		}
		if !slices.Equal(d.List, fresh.List) || !slices.Equal(d.Index, fresh.Index) || !slices.Equal(d.Rejected, fresh.Rejected) ||
			d.Received != fresh.Received || countsOf(&d) != countsOf(&fresh) {
			t.Errorf("decode %s again: %+v, want %+v", body, d, fresh)
		}
	}
}

func TestDecodeEscapedNamesHaveMemoryOfTheirOwn(t *testing.T) {
	body := []byte(at(strings.Replace(good, "r-1", `r\u002d1`, 1), testNow))
	var d phone.Pings
	if err := decode(&d, body, testLimits, testNow); err != nil {
		t.Fatal(err)
	}
	clear(body)
	if got := d.List[0].Rider; got != "r-1" {
		t.Errorf("rider = %q after the body is gone, want r-1", got)
	}
}

func TestDecodeValidPingsAllocatesNothing(t *testing.T) {
	for _, lines := range []bool{false, true} {
		body := benchBody(100, testNow)
		if lines {
			body = bytes.ReplaceAll(body[1:len(body)-1], []byte("},"), []byte("}\n"))
		}
		var d phone.Pings
		r := phone.Request{Body: body, Limits: testLimits, Now: testNow}
		allocs := testing.AllocsPerRun(20, func() {
			if err := Protocol.Read(&r, &d); err != nil || len(d.List) != 100 {
				t.Fatal(err, d.Rejected)
			}
		})
		if allocs > 1 { // one ping in a hundred
			t.Errorf("%v allocations for 100 pings, lines %v", allocs, lines)
		}
	}
}

func TestDecodeTracks(t *testing.T) {
	lim := testLimits
	lim.Times = pingline.TimeLimits{MaxAge: 30 * 365 * 24 * time.Hour, MaxAhead: 30 * 365 * 24 * time.Hour}
	for _, kind := range tracktest.Kinds {
		name := tracktest.Find(t, kind).Path
		t.Run(filepath.Base(name), func(t *testing.T) {
			body := readGzip(t, name)
			var d phone.Pings
			if err := decode(&d, body, lim, testNow); err != nil {
				t.Fatal(err)
			}
			if want := bytes.Count(body, []byte("\n")); len(d.List) != want {
				t.Errorf("decoded %d of %d pings: %v", len(d.List), want, d.Rejected)
			}
			compareWithModel(t, body, lim)
		})
	}
}

func readGzip(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// verdict is what the model below makes of a ping: the ping, or the field it
// is rejected for, "syntax" if it cannot be read.
type verdict struct {
	ping  pingline.Ping
	field string
}

// model decodes a body with encoding/json, the plain way. It returns an error
// for a body that is refused.
func model(body []byte, lim phone.Limits) (verdicts []verdict, err error) {
	body = bytes.TrimPrefix(body, bom)
	body = bytes.Trim(finite(body), space)
	switch {
	case len(body) == 0:
		return nil, nil
	case body[0] == '[':
		return modelList(body, lim)
	case body[0] == '{' && json.Valid(body):
		var object map[string]json.RawMessage
		if err := json.Unmarshal(body, &object); err != nil {
			return nil, err
		}
		if list, ok := object["pings"]; ok {
			return modelList(list, lim)
		}
		return []verdict{modelPing(body, lim)}, nil
	}
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	rest = bytes.TrimLeft(rest, space)
	switch {
	case len(rest) == 0:
		return nil, errors.New("one broken line")
	case first[0] == '{' && json.Valid(first):
		if modelNamesPings(first) {
			return nil, errors.New("more behind a list")
		}
	case rest[0] != '{' || bytes.Contains(first, []byte(`"pings"`)) || modelNamesPings(body):
		return nil, errors.New("a broken object")
	}
	for line := range bytes.Lines(body) {
		if line = bytes.Trim(line, space); len(line) > 0 {
			verdicts = append(verdicts, modelPing(line, lim))
		}
	}
	return verdicts, nil
}

// special stands for NaN and Infinity in what the model reads.
const special = "1e98765"

// finite returns a body with special in place of NaN and Infinity. No string goes on behind the end of a line.
func finite(body []byte) (out []byte) {
	quoted := false
	for i := 0; i < len(body); i++ {
		c, rest := body[i], body[i:]
		switch {
		case quoted && c == '\\' && i+1 < len(body):
			i++
			out = append(out, c, body[i])
			continue
		case c == '"':
			quoted = !quoted
		case c == '\n':
			quoted = false
		case quoted:
		case bytes.HasPrefix(rest, []byte("NaN")):
			i += len("NaN") - 1
			out = append(out, " "+special+" "...)
			continue
		case bytes.HasPrefix(rest, []byte("Infinity")):
			i += len("Infinity") - 1
			sign := bytes.HasSuffix(out, []byte("-"))
			out = append(bytes.TrimSuffix(out, []byte("-")), ' ')
			if sign {
				out = append(out, '-')
			}
			out = append(out, special+" "...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// modelNamesPings reports whether an object that may be broken has the key
// "pings" before it breaks.
func modelNamesPings(b []byte) bool {
	if b[0] != '{' {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return false
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return false
		}
		if key == "pings" {
			// A key is one once its colon has been read.
			var v json.RawMessage
			err := dec.Decode(&v)
			syntax, ok := errors.AsType[*json.SyntaxError](err)
			return !ok || !strings.Contains(syntax.Error(), "after object key")
		}
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			return false
		}
	}
	return false
}

func modelList(list []byte, lim phone.Limits) (verdicts []verdict, err error) {
	if c := list[0]; c != '[' && c != 'n' {
		return nil, errors.New("a list that is none")
	}
	var pings []json.RawMessage
	if err := json.Unmarshal(list, &pings); err != nil {
		return nil, err
	}
	for _, p := range pings {
		verdicts = append(verdicts, modelPing(p, lim))
	}
	return verdicts, nil
}

func modelPing(b []byte, lim phone.Limits) verdict {
	var object map[string]json.RawMessage
	if b[0] != '{' || json.Unmarshal(b, &object) != nil {
		return verdict{field: "syntax"}
	}
	numbers, texts, missing := map[string]float64{}, map[string]string{}, ""
	var p pingline.Ping
	for f := phone.Rider; f <= phone.Trip; f++ {
		name := f.String()
		v, ok := object[name]
		switch {
		case !ok || string(v) == "null":
			if missing == "" && f <= phone.Lon {
				missing = name
			}
		case name == "ts":
			if p.At, ok = modelTime(v); !ok {
				return verdict{field: name}
			}
		case slices.Contains([]string{"rider_id", "device_id", "event", "trip_id"}, name):
			var s string
			if json.Unmarshal(v, &s) != nil {
				return verdict{field: name}
			}
			texts[name] = s
		default:
			if v[0] == '"' || json.Unmarshal(v, new(json.Number)) != nil {
				return verdict{field: name}
			}
			numbers[name], _ = strconv.ParseFloat(string(v), 64) // ±Inf if out of range
		}
	}
	if missing != "" {
		return verdict{field: missing}
	}
	p.Rider, p.Device, p.Event, p.Trip = texts["rider_id"], texts["device_id"], texts["event"], texts["trip_id"]
	errs := []error{
		pingline.CheckID("rider_id", p.Rider),
		lim.Times.Check(p.At, testNow),
		p.SetPosition(numbers["lat"], numbers["lon"]),
	}
	for _, name := range []string{"device_id", "event", "trip_id"} {
		if s, ok := texts[name]; ok && name == "event" && s != "" {
			errs = append(errs, pingline.CheckEvent(s))
		} else if ok && s != "" {
			errs = append(errs, pingline.CheckID(name, s))
		}
	}
	for _, err := range errs {
		if fe, ok := errors.AsType[*pingline.FieldError](err); ok {
			return verdict{field: fe.Field}
		}
	}
	for i, name := range []string{"speed", "heading", "accuracy", "altitude", "battery"} {
		if v, ok := numbers[name]; ok {
			p.SetOptional(pingline.HasSpeed<<i, v)
		}
	}
	return verdict{ping: p}
}

func modelTime(v json.RawMessage) (ms int64, ok bool) {
	var text string
	if json.Unmarshal(v, &text) == nil {
		t, err := time.Parse(time.RFC3339, text)
		return t.UnixMilli(), err == nil && t.UnmarshalText([]byte(text)) == nil // stricter than Parse
	}
	if json.Unmarshal(v, new(json.Number)) != nil {
		return 0, false
	}
	if strings.TrimPrefix(string(v), "-") == special {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(string(v))
	if !ok {
		return 0, false
	}
	whole := new(big.Int).Quo(r.Num(), r.Denom())
	if !whole.IsInt64() {
		return int64(r.Sign()) << 62, true
	}
	return whole.Int64(), true
}

// compareWithModel checks that Decode and the model make the same of a body.
func compareWithModel(t *testing.T, body []byte, lim phone.Limits) {
	t.Helper()
	var d phone.Pings
	err := decode(&d, body, lim, testNow)
	checkDecoded(t, &d)
	want, wantErr := model(body, lim)
	if errors.Is(err, phone.ErrTooLarge) && (wantErr != nil || len(want) > lim.MaxPings) {
		return
	}
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("error = %v, want %v", err, wantErr)
	}
	if d.Received != len(want) && err == nil {
		t.Fatalf("%d pings, want %d", d.Received, len(want))
	}
	for i, at := range d.Index {
		if w := want[at]; d.List[i] != w.ping || w.field != "" {
			t.Errorf("ping %d = %+v, want %+v", at, d.List[i], w)
		}
	}
	for _, r := range d.Rejected {
		if field := want[r.Index].field; r.Field != field && (r.Field != "" || field != "syntax") {
			t.Errorf("ping %d rejected for %s, want %q", r.Index, textOf(r), field)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range malformed {
		if len(tt.body) < 4096 {
			f.Add([]byte(at(tt.body, testNow)))
		}
	}
	for _, body := range []string{
		`{"ts":NaN}`, with(`"ts":NOW.906,"lat":NaN,"x":[-Infinity,Infinity]`), with(`"device_id":"","event":"","trip_id":"","speed":NaN`),
		good, "[" + good + "]", `{"pings":[` + good + "," + good + "]}", good + "\n" + good,
		with(`"device_id":"d","event":"sos","trip_id":"t","speed":1.5,"heading":-1,"accuracy":5e0,"altitude":null,"battery":2`),
		with(`"ts":"2025-10-09T08:53:20.1239Z","x":[{"y":"\ud83d\ude80"}]`),
		"{\n" + good[1:], "{\"x\":\n" + good + "\n}", `{"a":1,"pings":[],"pings":null}`,
	} {
		f.Add([]byte(at(body, testNow)))
	}
	lim := testLimits
	lim.MaxPings = 20
	f.Fuzz(func(t *testing.T, body []byte) {
		if !modest(body) {
			var d phone.Pings
			_ = decode(&d, body, lim, testNow) // must come back, whatever it says
			return
		}
		compareWithModel(t, body, lim)
	})
}

// modest tells the bodies that the model can be asked about: not so deep that
// Decode refuses them, no exponent that takes math/big for ever.
func modest(b []byte) bool {
	if bytes.Count(b, []byte("[")) > maxDepth || bytes.Count(b, []byte("{")) > maxDepth {
		return false
	}
	digits := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits > 30 {
			return false
		}
	}
	for i, c := range b {
		if c|0x20 != 'e' {
			continue
		}
		j := i + 1
		for j < len(b) && (b[j] == '+' || b[j] == '-' || b[j] == '0') {
			j++
		}
		if k := j + 4; k < len(b) && len(bytes.Trim(b[j:k], "0123456789")) == 0 {
			return false
		}
	}
	return true
}
