package track

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"pingline"
)

// Tables are read as loggers write them: other names of columns, units in the header,
// decimal commas, date and time apart, the rider in the file's name.
func TestReadTablesOfLoggers(t *testing.T) {
	plain := newPing(t, "my-ride", 1760000000000, 41.157812, -8.629105, nil)
	full := newPing(t, "my-ride", 1760000000123, 41.157812, -8.629105, map[pingline.Known]float64{
		pingline.HasSpeed: 10, pingline.HasHeading: 183.5, pingline.HasAccuracy: 5, pingline.HasAltitude: 97.5,
	})
	named := plain
	named.Rider = "van:7"
	for _, tt := range []struct {
		name, text string
		want       pingline.Ping
	}{
		{"GPSLogger", "time,lat,lon,elevation,accuracy,bearing,speed,satellites,provider,timestamp_ms\n2025-10-09T08:53:20.123Z,41.157812,-8.629105,97.5,5.0,183.5,10,11,gps,1760000000123\n", full},
		{"German", "Date;Time;Latitude;Longitude;Altitude (m);Course;Accuracy [m];Speed (km/h)\n09.10.2025;08:53:20,123;41,157812;-8,629105;97,5;183,5;5;36\n", full},
		{"a quoted decimal comma", "latitude,longitude,timestamp\n\"41,157812\",\"-8,629105\",1760000000000\n", plain},
		{"seconds", "lat,lng,time_s\n41.157812,-8.629105,1760000000\n", plain},
		{"a space in the time", "Lat,Long,DateTime\n41.157812,-8.629105,2025-10-09 08:53:20\n", plain},
		{"an offset", "lat,lon,time\n41.157812,-8.629105,2025-10-09 10:53:20+02:00\n", plain},
		{"a day in slashes", "date,time,lat,lon\n2025/10/09,08:53:20,41.157812,-8.629105\n", plain},
		{"a vehicle", "Vehicle ID,Time UTC,lat,lon\nvan:7,2025-10-09T08:53:20Z,41.157812,-8.629105\n", named},
		{"ts beside time", "ts,time,lat,lon\n1760000000000,yesterday,41.157812,-8.629105\n", plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, _, errs := readAll(t, "/tmp/my ride.csv.gz", tt.text)
			if len(errs) > 0 || len(pings) != 1 || pings[0] != tt.want {
				t.Errorf("read %+v, %q, want %+v", pings, errs, tt.want)
			}
		})
	}
	if pings, _, errs := readAll(t, "a.csv", "time,lat,lon,speed_kmh,speed_mph\n1,2,3,,\n1,2,3,36,\n"); len(errs) > 0 || len(pings) != 2 || pings[1].Speed != 10 || pings[0].Known != 0 {
		t.Errorf("of two speeds the first is read as %+v, %q", pings, errs)
	}
}

// JSON is read as POST /v1/pings takes it. What is no ping is refused with its line,
// and the rest is read.
func TestReadDocuments(t *testing.T) {
	list := "[\n" + oneLine + ",\n{\"rider_id\":\"r\\\"]\",\n\"ts\":NaN}, 7, \"a, b\", [[1],{\"a\":\"]\"}], null,\n" + oneLine + "\n]"
	for name, text := range map[string]string{
		"an array":            list,
		"an object of pings":  `{"device":{"pings":[1]},"pings":` + list + `,"more":[{"pings":[{}]}]}`,
		"pings over lines":    "{\n \"pings\"\n : " + list + "}\n\n",
		"several":             "[" + oneLine + "]\n[{}, 7, 7, 7, 7, {}]\n" + strings.ReplaceAll(oneLine, ",", ",\n"),
		"a long line":         `{"pings": [` + strings.Repeat(" ", 70_000) + strings.Trim(strings.ReplaceAll(list, "\n", " "), "[]") + "]}",
		"with a mark of UTF8": "\ufeff" + list,
	} {
		pings, _, errs := readAll(t, "a.json", text)
		if len(pings) != 2 || len(errs) != 6 || pings[0].Rider != "r-1" {
			t.Errorf("%s: read %d pings and %q", name, len(pings), errs)
		}
	}
	_, _, errs := readAll(t, "a.json", list)
	if want := "a.json line 3: not JSON: invalid character 'N'"; len(errs) == 0 || !strings.HasPrefix(errs[0], want) {
		t.Errorf("refused with %q, want %q", errs, want)
	}
	for text, want := range map[string]string{
		"[" + oneLine + ",":        "a.json line 1: read JSON: unexpected EOF",
		"[" + oneLine + ",{\"a\":": "a.json line 1: read JSON: unexpected EOF",
		"[]\n]":                    "a.json line 2: read JSON: ']' where a ping should begin",
	} {
		if _, _, errs := readAll(t, "a.json", text); len(errs) != 1 || errs[0] != want {
			t.Errorf("%s: %q, want %q", text, errs, want)
		}
	}
	long := `[{"a":"` + strings.Repeat("x", 2*maxLine) + `"},` + oneLine + "]"
	if pings, _, errs := readAll(t, "a.json", long); len(pings) != 1 || len(errs) != 1 || !strings.HasSuffix(errs[0], string(errTooLong)) {
		t.Errorf("behind a long value: %d pings, %.99q", len(pings), errs)
	}
}

func FuzzReadDocument(f *testing.F) {
	f.Add([]byte(`[` + oneLine + `,{"a":"\"]"}]`))
	f.Add([]byte(`{"pings":[` + oneLine + `],"x":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDocument(bufio.NewReader(bytes.NewReader(b)))
		for range len(b) + 1 {
			var p pingline.Ping
			if _, line, err := d.next(&p); err == nil {
				if err := p.Validate(); err != nil || line < 1 {
					t.Fatalf("line %d: %+v: %v", line, p, err)
				}
			} else if !errors.Is(err, pingline.ErrInvalid) {
				return
			}
		}
		t.Errorf("%q has more values than bytes", b)
	})
}

// A line over the 180th meridian is cut there, and goes once round nothing.
func TestGeoJSONIsCutAtTheMeridian(t *testing.T) {
	var e geoEncoder
	for i := range 11 {
		p := newPing(t, "r\"1", int64(i)*60_000, -17+float64(i%2)/20, math.Remainder(179.5+float64(i)/10, 360), nil)
		e.ping(nil, &p, i == 3)
	}
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	e.end(w)
	_ = w.Flush()
	var got struct {
		Features []struct {
			Geometry struct {
				Type        string
				Coordinates json.RawMessage
			}
			Properties struct {
				Rider string `json:"rider_id"`
				Late  bool
				Times json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || len(got.Features) != 2 {
		t.Fatalf("%v: %s", err, &b)
	}
	line, late := got.Features[0], got.Features[1]
	if line.Geometry.Type != "MultiLineString" || line.Properties.Rider != "r\"1" || late.Geometry.Type != "MultiPoint" || !late.Properties.Late || string(late.Properties.Times) != "[180000]" {
		t.Errorf("wrote %s", &b)
	}
	var parts [][][2]float64
	var times [][]int64
	if err := json.Unmarshal(line.Geometry.Coordinates, &parts); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line.Properties.Times, &times); err != nil {
		t.Fatal(err)
	}
	length := 0.0
	for i, part := range parts {
		if len(part) != len(times[i]) || len(part) < 2 {
			t.Errorf("%d positions have %d times", len(part), len(times[i]))
		}
		for j := 1; j < len(part); j++ {
			length += math.Abs(part[j][0] - part[j-1][0])
		}
	}
	if math.Abs(length-1) > 1e-6 || len(parts) != 2 {
		t.Errorf("%d parts are %v degrees long, want 1: %v", len(parts), length, parts)
	}
}
