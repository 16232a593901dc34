package track

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/track/tracktest"
)

// readAll reads a file to its end: its pings, their lines, and the errors.
func readAll(t testing.TB, file, text string) (pings []pingline.Ping, raws, errs []string) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), file)
	if err != nil {
		return nil, nil, []string{err.Error()}
	}
	for {
		p, raw, err := r.Next()
		if err == io.EOF {
			return pings, raws, errs
		}
		if err == nil {
			pings, raws = append(pings, p), append(raws, string(raw))
			continue
		}
		errs = append(errs, err.Error())
		if !errors.Is(err, pingline.ErrInvalid) {
			if _, _, again := r.Next(); again != err {
				t.Fatalf("%v, then %v", err, again)
			}
			return pings, raws, errs
		}
	}
}

func newPing(t *testing.T, rider string, at int64, lat, lon float64, numbers map[pingline.Known]float64) pingline.Ping {
	t.Helper()
	p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: at}}
	if err := p.SetPosition(lat, lon); err != nil {
		t.Fatal(err)
	}
	for k, v := range numbers {
		p.SetOptional(k, v)
	}
	return p
}

const oneLine = `{"rider_id":"r-1","ts":1760000000123,"lat":41.157812,"lon":-8.629105}`

func TestReadNDJSON(t *testing.T) {
	plain := newPing(t, "r-1", 1760000000123, 41.157812, -8.629105, nil)
	full := newPing(t, "r-1", 1760000000123, 41.157812, -8.629105, map[pingline.Known]float64{
		pingline.HasSpeed: 7.42, pingline.HasHeading: 183.5, pingline.HasAccuracy: 5, pingline.HasAltitude: -3, pingline.HasBattery: 1,
	})
	full.Device, full.Event, full.Trip = "watch", "sos", "t:1"
	still := plain
	still.Known = pingline.HasSpeed
	for _, tt := range []struct {
		name, text string
		want       pingline.Ping
	}{
		{"the least", oneLine, plain},
		{"everything", `{"rider_id":"r-1","device_id":"watch","ts":1760000000123,"lat":41.157812,"lon":-8.629105,"speed":7.42,"heading":183.5,"accuracy":5,"altitude":-3,"battery":1,"event":"sos","trip_id":"t:1"}`, full},
		{"a time in words", `{"rider_id":"r-1","ts":"2025-10-09T08:53:20.1239Z","lat":41.157812,"lon":-8.629105}`, plain},
		{"a time with an offset", `{"rider_id":"r-1","ts":"2025-10-09T10:53:20.123+02:00","lat":41.157812,"lon":-8.629105}`, plain},
		{"a time with an exponent", `{"rider_id":"r-1","ts":1.760000000123e12,"lat":41157812e-6,"lon":-8.629105}`, plain},
		{"white space", " {\t\"rider_id\" : \"r-1\" , \"ts\" :1760000000123,\"lat\": 41.157812 ,\"lon\":-8.629105 } \r", plain},
		{"escapes", `{"rider\u005fid":"r\u002d1","ts":1760000000123,"lat":41.157812,"lon":-8.629105}`, plain},
		{"unknown keys", `{"a":{"lat":1,"b":["}\"",{}]},"rider_id":"r-1","x":"\\","ts":1760000000123,"":null,"lat":41.157812,"y":[1,[2]],"lon":-8.629105,"Speed":5,"z":true}`, plain},
		{"the last of two counts", `{"lat":"x","rider_id":"r-2","rider_id":"r-1","ts":1,"ts":1760000000123,"speed":4,"speed":null,"lat":1,"lat":41.157812,"lon":-8.629105}`, plain},
		{"null", `{"rider_id":"r-1","ts":1760000000123,"lat":41.157812,"lon":-8.629105,"speed":null,"device_id":null,"event":null,"trip_id":null}`, plain},
		{"negative means unknown", `{"rider_id":"r-1","ts":1760000000123,"lat":41.157812,"lon":-8.629105,"speed":-1,"accuracy":-1,"battery":-1}`, plain},
		{"out of range is unknown", `{"rider_id":"r-1","ts":1760000000123,"lat":41.157812,"lon":-8.629105,"speed":1e400,"altitude":-2e5}`, plain},
		{"zero is known", `{"rider_id":"r-1","ts":1760000000123,"lat":41.157812,"lon":-8.629105,"speed":-0}`, still},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, raws, errs := readAll(t, "a.ndjson", "\n  \n"+tt.text+"\n"+oneLine)
			if len(errs) > 0 || len(pings) != 2 || pings[0] != tt.want || pings[1] != plain {
				t.Fatalf("read %+v, %v, want %+v", pings, errs, tt.want)
			}
			if raws[0] != strings.TrimSuffix(tt.text, "\r") || raws[1] != oneLine {
				t.Errorf("lines %q", raws)
			}
		})
	}
}

func TestReadNDJSONRefuses(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"a word", `hello`, "not JSON: invalid character 'h'"},
		{"a torn line", `{"rider_id":"r-1","ts":17600`, "not JSON: unexpected end"},
		{"two objects", oneLine + oneLine, "not JSON: invalid character '{' after top-level value"},
		{"a list", `[]`, "not a JSON object"},
		{"a number", `7`, "not a JSON object"},
		{"an empty object", `{}`, "rider_id: missing"},
		{"no ts", `{"rider_id":"r-1","lat":1,"lon":2}`, "ts: missing"},
		{"no lat", `{"rider_id":"r-1","ts":1,"lat":null,"lon":2}`, "lat: missing"},
		{"no lon", `{"rider_id":"r-1","ts":1,"lat":1}`, "lon: missing"},
		{"a number for a name", `{"rider_id":1,"ts":1,"lat":1,"lon":2}`, "rider_id: not a string"},
		{"a list for a name", `{"rider_id":"r","device_id":["a"],"ts":1,"lat":1,"lon":2}`, "device_id: not a string"},
		{"an empty name", `{"rider_id":"","ts":1,"lat":1,"lon":2}`, "rider_id: length 0"},
		{"a long name", `{"rider_id":"` + strings.Repeat("r", 129) + `","ts":1,"lat":1,"lon":2}`, "rider_id: length 129"},
		{"a name that ends in a space", `{"rider_id":"r 1 ","ts":1,"lat":1,"lon":2}`, "rider_id: white space"},
		{"a bad device", `{"rider_id":"r","device_id":"ä\\","ts":1,"lat":1,"lon":2}`, "device_id: a backslash"},
		{"a bad event", `{"rider_id":"r","event":"SOS","ts":1,"lat":1,"lon":2}`, "event: characters"},
		{"a bad trip", `{"rider_id":"r","trip_id":"","ts":1,"lat":1,"lon":2}`, "trip_id: length 0"},
		{"a number in quotes", `{"rider_id":"r","ts":1,"lat":"1","lon":2}`, "lat: not a number"},
		{"a ts in quotes", `{"rider_id":"r","ts":"1760000000123","lat":1,"lon":2}`, "ts: neither whole ms"},
		{"a ts of a fraction", `{"rider_id":"r","ts":1.5,"lat":1,"lon":2}`, "ts: neither whole ms"},
		{"a day that is none", `{"rider_id":"r","ts":"2025-02-30T00:00:00Z","lat":1,"lon":2}`, "ts: neither whole ms"},
		{"an offset without a colon", `{"rider_id":"r","ts":"2026-01-01T00:00:00+0000","lat":1,"lon":2}`, "ts: the offset of its time zone needs a colon: +01:00"},
		{"a ts of another age", `{"rider_id":"r","ts":1760000000123000,"lat":1,"lon":2}`, "not in the years 0 to 9999"},
		{"a true speed", `{"rider_id":"r","ts":1,"lat":1,"lon":2,"speed":true}`, "speed: not a number"},
		{"a latitude off the globe", `{"rider_id":"r","ts":1,"lat":90.1,"lon":2}`, "lat: not in [-90, 90]"},
		{"a longitude off the globe", `{"rider_id":"r","ts":1,"lat":9,"lon":1e999}`, "lon: not in [-180, 180]"},
		{"nowhere", `{"rider_id":"r","ts":1,"lat":0,"lon":0}`, "lat: position 0,0"},
		{"a very long line", `{"x":"` + strings.Repeat("x", maxLine) + `"}`, "line of more than 1 MiB"},
		{"a very deep line", strings.Repeat("[", 100_000), "exceeded max depth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, _, errs := readAll(t, "a.ndjson", oneLine+"\n"+tt.line+"\n"+oneLine+"\n")
			if len(pings) != 2 {
				t.Errorf("%d pings besides it", len(pings))
			}
			if len(errs) != 1 || !strings.HasPrefix(errs[0], "a.ndjson line 2: ") || !strings.Contains(errs[0], tt.want) {
				t.Errorf("errors %q, want %q", errs, tt.want)
			}
		})
	}
}

func TestRefusedLineIsReturned(t *testing.T) {
	for file, text := range map[string]string{"a.ndjson": "{\"lat\":1}\n", "a.csv": "rider_id,ts,lat,lon\n{\"lat\":1}\n"} {
		r, err := NewReader(strings.NewReader(text), file)
		if err != nil {
			t.Fatal(err)
		}
		_, raw, err := r.Next()
		if e, ok := errors.AsType[*FileError](err); !ok || string(raw) != `{"lat":1}` || e.File != file {
			t.Errorf("%s: %q, %v", file, raw, err)
		}
	}
}

func TestReadCSV(t *testing.T) {
	head := "note,rider_id, ts ,lat,lon,speed,heading,accuracy,altitude,battery,device_id,event,trip_id\r\n"
	full := newPing(t, "r-1", 1760000000123, 41.157812, -8.629105, map[pingline.Known]float64{
		pingline.HasSpeed: 7.42, pingline.HasHeading: 183.5, pingline.HasAccuracy: 5, pingline.HasAltitude: -3, pingline.HasBattery: 1,
	})
	full.Device, full.Event, full.Trip = "watch", "sos", "t:1"
	plain := newPing(t, "r-1", 1760000000123, 41.157812, -8.629105, nil)
	for _, tt := range []struct {
		name, line string
		want       pingline.Ping
	}{
		{"everything", `x,r-1,1760000000123,41.157812,-8.629105,7.42,183.5,5,-3,1,watch,sos,t:1`, full},
		{"the least", `,r-1,1760000000123,41.157812,-8.629105,,,,,,,,`, plain},
		{"a time in words", `,r-1,2025-10-09T08:53:20.123Z,41.157812,-8.629105,,,,,,,,`, plain},
		{"quotes", `"a ""note"", long","r-1", "1760000000123",41.157812,"-8.629105","",,,,,,,`, plain},
		{"white space", ` , r-1	,1760000000123, 41.157812,-8.629105, ,,,,,,,`, plain},
		{"not a number at all", `,r-1,1760000000123.0,41.157812,-8.629105,NaN,-1,inf,,,,,`, plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, raws, errs := readAll(t, "a.csv", head+"\n"+tt.line+"\r\n"+tt.line)
			if len(errs) > 0 || len(pings) != 2 || pings[0] != tt.want || pings[1] != tt.want {
				t.Fatalf("read %+v, %q, want %+v", pings, errs, tt.want)
			}
			if raws[0] != tt.line || raws[1] != tt.line {
				t.Errorf("lines %q", raws)
			}
		})
	}
}

// Spreadsheets write semicolons where the comma is for decimals, and tabs when
// pasted from; blank lines may come before the header.
func TestReadCSVOfOtherKinds(t *testing.T) {
	want := newPing(t, "r-1", 1760000000123, 41.157812, -8.629105, map[pingline.Known]float64{pingline.HasSpeed: 7.5})
	for _, tt := range []struct{ name, text string }{
		{"semicolons", "speed;ts;note;rider_id;lon;lat\n7.5;1760000000123;a, b;r-1;-8.629105;41.157812\n"},
		{"quotes and semicolons", "\"speed\";\"ts\";\"note\";\"rider_id\";\"lon\";\"lat\"\n7.5;\"1760000000123\";\"a; b\";r-1;-8.629105;41.157812\n"},
		{"tabs", "speed\tts\tnote\trider_id\tlon\tlat\n7.5\t1760000000123\t\tr-1\t-8.629105\t41.157812\n"},
		{"quotes and tabs", "speed\tts\tnote\trider_id\tlon\tlat\n7.5\t1760000000123\t\t\"r-1\"\t-8.629105\t41.157812\n"},
		{"a mark and blank lines", "\ufeff\r\n \r\nspeed,ts,note,rider_id,lon,lat,\r\n7.5,1760000000123,,r-1,-8.629105,41.157812,\r\n"},
		{"offsets", "rider_id,lat,lon,ts,speed\nr-1,41.157812,-8.629105,2025-10-09T14:23:20.1239+05:30,7.5\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, _, errs := readAll(t, "a.csv", tt.text)
			if len(errs) > 0 || len(pings) != 1 || pings[0] != want {
				t.Errorf("read %+v, %q, want %+v", pings, errs, want)
			}
		})
	}
}

func TestReadCSVRefuses(t *testing.T) {
	const head = "rider_id,ts,lat,lon,speed\n"
	for _, tt := range []struct{ name, text, want string }{
		{"too few values", head + "r,1,2,3", "a.csv line 2: 4 values, the header has 5"},
		{"too many values", head + "r,1,2,3,4,5", "a.csv line 2: 6 values, the header has 5"},
		{"no rider", head + ",1,2,3,4", "a.csv line 2: rider_id: missing"},
		{"no number", head + "r,1,2,east,4", "a.csv line 2: lon: not a number"},
		{"no time", head + "r,yesterday,2,3,4", "a.csv line 2: ts: neither"},
		{"a quote that does not end", head + "\"r,1,2,3,4\nr,1,2,3,4", "a.csv line 2: not CSV: character 11: extraneous or missing"},
		{"a header below", "\n\nr,1,2\n", "a.csv line 3: rider_id: not in the header"},
		{"two decimal commas", "rider_id;ts;lat;lon\nr;1;2,5,0;3\n", "a.csv line 2: lat: not a number"},
		{"a day that may be in two months", "rider,date,time,lat,lon\nr,09/10/2025,08:53:20,2,3\n", "a.csv line 2: ts: neither"},
		{"no header", "r,1,2,3,4\n", "a.csv line 1: rider_id: not in the header: a table begins with the names of its columns"},
		{"no longitude", "rider_id,ts,lat\n", "a.csv line 1: lon: not in the header"},
		{"two longitudes", "rider_id,ts,lat,lon,lon\n", "a.csv line 1: lon: twice in the header"},
		{"a long header", strings.Repeat("x,", maxLine), "a.csv line 1: line of more than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, errs := readAll(t, "a.csv", tt.text)
			if len(errs) != 1 || !strings.HasPrefix(errs[0], tt.want) {
				t.Errorf("errors %q, want %q", errs, tt.want)
			}
		})
	}
}

func TestFormOfAFile(t *testing.T) {
	const csv = "rider_id,ts,lat,lon\nr-1,1760000000123,41.157812,-8.629105\n"
	const gpx = `<gpx><trk><name>r-1</name><trkpt lat="41.157812" lon="-8.629105"><time>2025-10-09T08:53:20.123Z</time></trkpt></trk></gpx>`
	want := newPing(t, "r-1", 1760000000123, 41.157812, -8.629105, nil)
	for _, tt := range []struct{ file, text, header string }{
		{"a.ndjson", oneLine, ""},
		{"a.JSONL", oneLine, ""},
		{"a.json", oneLine, ""},
		{"a.json", "[" + oneLine + "]", ""},
		{"a", "{ \"x\" : [1, {}],\n \"pings\" : [\n" + oneLine + "\n] , \"y\":[]}\n", ""},
		{"a.ndjson", `{"pings":[` + oneLine + `]}`, ""},
		{"a.txt", strings.ReplaceAll(oneLine, ",", ",\n  "), ""},
		{"a.csv", csv, "rider_id,ts,lat,lon"},
		{"a.gpx", gpx, ""},
		{"a", oneLine, ""},
		{"a.txt", "\n " + oneLine, ""},
		{"a.log", gpx, ""},
		{"a.txt", csv, "rider_id,ts,lat,lon"},
		{"a", "\ufeff" + oneLine, ""},
		{"a.csv", "\ufeff" + csv, "rider_id,ts,lat,lon"},
		{"a.gpx", "\ufeff" + gpx, ""},
	} {
		for _, ext := range []string{"", ".gz"} {
			t.Run(tt.file+ext, func(t *testing.T) {
				path, text := filepath.Join(t.TempDir(), tt.file+ext), []byte(tt.text)
				if ext != "" {
					text = zipped(t, text)
				}
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				r, err := Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if p, _, err := r.Next(); err != nil || p != want {
					t.Errorf("read %+v, %v", p, err)
				}
				if string(r.Header()) != tt.header {
					t.Errorf("header %q", r.Header())
				}
				if _, _, err := r.Next(); err != io.EOF {
					t.Errorf("then %v", err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func zipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEmptyFilesHaveNoPings(t *testing.T) {
	for _, file := range []string{"a", "a.ndjson", "a.csv", "a.gpx", "a.geojson", "a.fit"} {
		if pings, _, errs := readAll(t, file, ""); len(pings)+len(errs) > 0 {
			t.Errorf("%s: %v, %v", file, pings, errs)
		}
	}
}

func TestFilesThatBreakOff(t *testing.T) {
	whole := zipped(t, []byte(strings.Repeat(oneLine+"\n", 10_000)))
	pings, _, errs := readAll(t, "a.ndjson.gz", string(whole[:len(whole)/2]))
	if len(pings) == 0 || len(errs) != 1 || !strings.Contains(errs[0], "unexpected EOF") {
		t.Errorf("half a compressed file: %d pings, %q", len(pings), errs)
	}
	if _, _, errs := readAll(t, "a.gz", "\x1f\x8b\x00"); len(errs) != 1 || !strings.Contains(errs[0], "read a.gz: ") {
		t.Errorf("a broken head: %q", errs)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	r, err := Open(t.TempDir())
	if err == nil {
		_, _, err = r.Next()
	}
	if err == nil || err == io.EOF {
		t.Errorf("a directory: %v", err)
	}
}

func TestEndlessLinesTakeNoMemory(t *testing.T) {
	for _, file := range []string{"a.ndjson", "a.gpx", "a.csv", "a.geojson", "a.fit"} {
		begin := "<gpx>{"
		if file == "a.geojson" {
			begin = `{"features":[{"`
		}
		in := io.MultiReader(strings.NewReader(begin), io.LimitReader(endless{}, 64<<20))
		r, err := NewReader(in, file)
		if err == nil {
			_, _, err = r.Next()
		}
		if err == nil || err == io.EOF {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if r == nil {
			continue
		}
		if f, ok := r.format.(*ndjson); ok && cap(f.long) > 4*maxLine {
			t.Errorf("%d bytes are held", cap(f.long))
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Ids are read back as they were, whatever a form means by their characters.
func TestWrittenIDsReadBack(t *testing.T) {
	ids := []string{`a,"b"`, `"`, `"a"`, "Zoë", "Zoe\u0308", "<&>", "a b", "]]>", "a;b", "a\u2028b", "李雷", "🛵", "'", "#1", "=1+1", "{}"}
	for _, form := range []Form{NDJSON, CSV, GPX, GeoJSON} {
		path := filepath.Join(t.TempDir(), "a."+string(form))
		w, err := Create(path, form)
		if err != nil {
			t.Fatal(err)
		}
		var want []pingline.Ping
		for i, id := range ids {
			p := newPing(t, id, int64(i+1)*1000, 41, -8, nil)
			p.Device, p.Trip = id, id
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			want = append(want, p)
			if err := w.Write(&p, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if form == GeoJSON {
			checkNames(t, data, ids)
			continue
		}
		if got, _, errs := readAll(t, path, string(data)); !slices.Equal(got, want) || len(errs) > 0 {
			t.Errorf("%s: wrote %+v, read %+v, %q", form, want, got, errs)
		}
	}
}

// checkNames checks the riders and devices of GeoJSON.
func checkNames(t *testing.T, data []byte, ids []string) {
	t.Helper()
	var all struct {
		Features []struct {
			Properties struct {
				Rider  string `json:"rider_id"`
				Device string `json:"device_id"`
			}
		}
	}
	if err := json.Unmarshal(data, &all); err != nil || len(all.Features) != len(ids) {
		t.Fatalf("%v: %s", err, data)
	}
	for i, f := range all.Features {
		if f.Properties.Rider != ids[i] || f.Properties.Device != ids[i] {
			t.Errorf("%q is written as %+v", ids[i], f.Properties)
		}
	}
}

// What is written in any form that can be read is read as the same pings.
func TestWrittenTracksReadBack(t *testing.T) {
	var pings []pingline.Ping // two devices, each in order of time
	for i := int64(1); i < 1000; i++ {
		p := newPing(t, "r.-1--", 1e12+i*987, float64(i)/13, -float64(i)/7, nil)
		for k := range len(pingline.Numbers) {
			if i>>k&1 != 0 {
				p.SetOptional(1<<k, float64(i)/1000)
			}
		}
		if i >= 500 {
			p.Device = "watch"
		}
		if i%10 == 0 {
			p.Event, p.Trip = "sos", "t:1"
		}
		pings = append(pings, p)
	}
	for _, form := range []Form{NDJSON, CSV, GPX} {
		for _, ext := range []string{"", ".gz"} {
			path := filepath.Join(t.TempDir(), "a."+string(form)+ext)
			if got := FormToWrite(path); got != form {
				t.Errorf("%s would be written as %q", path, got)
			}
			w, err := Create(path, form)
			if err != nil {
				t.Fatal(err)
			}
			for i := range pings {
				if err := w.Write(&pings[i], false); err != nil {
					t.Fatal(err)
				}
			}
			late := pings[7]
			late.LatE7++
			if err := errors.Join(w.Write(&late, true), w.Close()); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := append(slices.Clone(pings), late)
			if form == GPX { // the late ones of a track come behind its line
				want = slices.Insert(slices.Clone(pings), 499, late)
			}
			got, _, errs := readAll(t, path, string(data))
			if !slices.Equal(got, want) || len(errs) > 0 {
				t.Errorf("%s: wrote %d pings, read %d, %q", path, len(want), len(got), errs)
			}
		}
	}
	if _, err := Create(filepath.Join(t.TempDir(), "none", "a"), NDJSON); err == nil {
		t.Error("a file in no directory")
	}
	if _, err := Create(filepath.Join(t.TempDir(), "a"), "png"); err == nil {
		t.Error("a file of a form that is not written")
	}
}

func TestRecordedTracks(t *testing.T) {
	want := map[string][2]int{ // pings, riders
		"city_1s.ndjson.gz":               {6000, 4},
		"city_5s.ndjson.gz":               {7800, 26},
		"city_27s.ndjson.gz":              {420, 1},
		"city_arrival_faults.ndjson.gz":   {6640, 4},
		"dev_1hz_mixed.ndjson.gz":         {6107, 4},
		"dev_gotrack_5s_bus20s.ndjson.gz": {7908, 62},
		"dev_phone_android.ndjson.gz":     {426, 1},
		"dev_arrival_faults.ndjson.gz":    {6749, 4},
	}
	for _, kind := range tracktest.Kinds {
		path := tracktest.Find(t, kind).Path
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		n, riders := 0, map[string]bool{}
		for {
			p, raw, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
			riders[p.Rider] = true
			again, _, errs := readAll(t, "a.ndjson", string(AppendPing(nil, &p)))
			if len(errs) > 0 || again[0] != p || len(raw) == 0 {
				t.Fatalf("%s: %+v was written and read as %+v, %q", path, p, again, errs)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if w := want[filepath.Base(path)]; w != [2]int{n, len(riders)} {
			t.Errorf("%s: %d pings of %d riders, want %v", path, n, len(riders), w)
		}
	}
}

// FuzzReader feeds files of every form. Refusing is fine; what is read must be
// valid, and the same again after it was written.
func FuzzReader(f *testing.F) {
	f.Add("a.ndjson", []byte(oneLine+"\n"+oneLine))
	f.Add("a.ndjson", []byte(`{"rider_id":"r","x":{"y":["\"}",{}]},"ts":"2025-10-09T08:53:20.123Z","lat":1e1,"lon":-0,"speed":null}`))
	f.Add("a.csv", []byte("rider_id,ts,lat,lon,event\nr-1,1,2,3,\n\"r\",\"1\",2,3,sos\n"))
	f.Add("a.csv", []byte("\nlat;ts;lon;rider_id\n3;\"1\";4;r\n"))
	f.Add("a.gpx", []byte(gpxSample))
	f.Add("a", []byte("\ufeff<gpx></gpx>"))
	f.Add("a.json", []byte("["+oneLine+"]"))
	f.Add("a.geojson", []byte(geoSample))
	f.Add("a.json", []byte(recordsSample))
	f.Add("a.json", []byte(phoneSample))
	f.Add("a.json", []byte(appleSample))
	f.Add("a.fit", []byte(fitSample(f)))
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		r, err := NewReader(bytes.NewReader(data), file)
		if err != nil {
			return
		}
		for range len(data) + 1 {
			p, raw, err := r.Next()
			if err != nil && !errors.Is(err, pingline.ErrInvalid) {
				return
			}
			if err != nil {
				continue
			}
			if lined := r.Form() == NDJSON || r.Form() == CSV; lined != (raw != nil) {
				t.Fatalf("line %q of %s", raw, file)
			}
			again, _, errs := readAll(t, "a.ndjson", string(AppendPing(nil, &p)))
			if p.SamePlace(&pingline.Fix{}) {
				continue // less than half a unit from 0,0: written, it is 0,0
			}
			if len(errs) > 0 || again[0] != p {
				t.Fatalf("%+v was written and read as %+v, %q", p, again, errs)
			}
		}
		t.Fatalf("more pings than bytes in %s", file)
	})
}

func BenchmarkReader(b *testing.B) {
	line := `{"rider_id":"munich-drive","ts":1410324847000,"lat":48.1635066,"lon":11.5643883,"speed":7.5,"heading":null,"accuracy":4.2,"altitude":null}` + "\n"
	table := "rider_id,ts,lat,lon,speed,heading,accuracy,altitude\n" + strings.Repeat("munich-drive,1410324847000,48.1635066,11.5643883,7.5,,4.2,\n", 1000)
	point := `<trkpt lat="48.1635066" lon="11.5643883"><ele>520</ele><time>2014-09-10T05:54:07Z</time><speed>7.5</speed></trkpt>`
	for file, text := range map[string]string{
		"a.ndjson": strings.Repeat(line, 1000), "a.csv": table,
		"a.gpx": "<gpx><trk><trkseg>" + strings.Repeat(point, 1000) + "</trkseg></trk></gpx>",
	} {
		b.Run(file[2:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if pings, _, _ := readAll(b, file, text); len(pings) != 1000 {
					b.Fatalf("%d pings", len(pings))
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "pings/s")
		})
	}
}

// A track that cannot be written to its end leaves the file that was there.
func TestWriterThatFails(t *testing.T) {
	for _, name := range []string{"kept.ndjson", "kept.ndjson.gz"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Create(path, NDJSON)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteLine([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if err := w.file.File.Close(); err != nil { // the disk fails
			t.Fatal(err)
		}
		if err := w.Close(); err == nil {
			t.Error("it closed well")
		}
		if got, err := os.ReadFile(path); string(got) != "old" {
			t.Errorf("the file holds %q: %v", got, err)
		}
	}
}
