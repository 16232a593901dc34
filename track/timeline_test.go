package track

import (
	"slices"
	"strings"
	"testing"

	"pingline"
)

const recordsSample = `{
  "locations": [
    {"latitudeE7": 411578120, "longitudeE7": -86291050, "accuracy": 12, "altitude": 80, "velocity": 3, "heading": 90, "verticalAccuracy": 2,
     "activity": [{"activity": [{"type": "STILL", "confidence": 100}], "timestamp": "2025-10-09T08:53:20Z"}],
     "source": "GPS", "deviceTag": -1234567, "timestamp": "2025-10-09T08:53:20.123Z"},
    {"activity": [], "timestamp": "2025-10-09T08:53:20.623Z"},
    {"timestampMs": "1760000001123", "latitudeE7": 411580000, "longitudeE7": 4208675296}
  ]
}`

const phoneSample = `{
  "semanticSegments": [
    {"startTime": "2025-10-09T10:00:00.000+02:00", "endTime": "2025-10-09T12:00:00.000+02:00", "timelinePath": [
       {"point": "41.157812°, -8.629105°", "time": "2025-10-09T10:53:00.000+02:00"},
       {"point": "41.158°, -8.6292°", "time": "2025-10-09T10:54:00.000+02:00"}]},
    {"startTime": "2025-10-09T10:00:00.000+02:00", "visit": {"topCandidate": {"placeLocation": {"latLng": "41.1°, -8.6°"}}}}
  ],
  "rawSignals": [
    {"position": {"LatLng": "41.157812°, -8.629105°", "accuracyMeters": 13, "altitudeMeters": 80.5, "source": "WIFI", "timestamp": "2025-10-09T10:53:20.123+02:00", "speedMetersPerSecond": 1.5}},
    {"wifiScan": {"deliveryTime": "2025-10-09T10:53:20.000+02:00", "devicesRecords": []}}
  ],
  "userLocationProfile": {"frequentPlaces": []}
}`

const appleSample = `[
  {"endTime": "2025-10-09T12:00:00.000+02:00", "startTime": "2025-10-09T10:53:00.000+02:00",
   "timelinePath": [{"point": "geo:41.157812,-8.629105", "durationMinutesOffsetFromStartTime": "0"}, {"point": "geo:41.158,-8.6292", "durationMinutesOffsetFromStartTime": "1"}]},
  {"startTime": "2025-10-09T12:00:00.000+02:00", "endTime": "2025-10-09T12:00:00.000+02:00", "activity": {"start": "geo:41.1,-8.6", "end": "geo:41.2,-8.6"}}
]`

func TestReadTimeline(t *testing.T) {
	of := func(at int64, lat, lon float64) pingline.Ping { return newPing(t, "home", at, lat, lon, nil) }
	first := newPing(t, "home", 1760000000123, 41.157812, -8.629105, map[pingline.Known]float64{
		pingline.HasAccuracy: 12, pingline.HasAltitude: 80, pingline.HasSpeed: 3, pingline.HasHeading: 90,
	})
	first.Device = "-1234567"
	raw := newPing(t, "home", 1760000000123, 41.157812, -8.629105, map[pingline.Known]float64{
		pingline.HasAccuracy: 13, pingline.HasAltitude: 80.5, pingline.HasSpeed: 1.5,
	})
	raw.Device = "raw"
	path := []pingline.Ping{of(1759999980000, 41.157812, -8.629105), of(1760000040000, 41.158, -8.6292)}
	for _, tt := range []struct {
		name, text string
		want       []pingline.Ping
	}{
		{"Records.json", recordsSample, []pingline.Ping{first, of(1760000001123, 41.158, -8.6292)}},
		{"of an Android phone", phoneSample, append(slices.Clone(path), raw)},
		{"of an iPhone", appleSample, path},
		{"empty", `{"locations":[]}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, file := range []string{"home.json", "home"} {
				if pings, _, errs := readAll(t, file, tt.text); !slices.Equal(pings, tt.want) || len(errs) > 0 {
					t.Errorf("%s: read %+v, %q, want %+v", file, pings, errs, tt.want)
				}
			}
		})
	}
}

func TestReadTimelineRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a location off the globe", `{"locations":[` + "\n" + `{"latitudeE7":950000000,"longitudeE7":1,"timestamp":"2025-10-09T08:53:20Z"},`, "lat: not in [-90, 90]"},
		{"a location without a time", `{"locations":[` + "\n" + `{"latitudeE7":410000000,"longitudeE7":1},`, "ts: missing"},
		{"a location of another shape", `{"locations":[` + "\n" + `{"latitudeE7":"41","longitudeE7":1},`, "not an entry of a timeline"},
		{"a long device", `{"locations":[` + "\n" + `{"latitudeE7":410000000,"longitudeE7":1,"timestamp":"2025-10-09T08:53:20Z","deviceTag":` + strings.Repeat("1", 129) + `},`, "device_id: length 129"},
		{"a number", `{"locations":[` + "\n" + `7,`, "not an entry of a timeline"},
		{"a signal nowhere", `{"rawSignals":[` + "\n" + `{"position":{"LatLng":"here","timestamp":"2025-10-09T08:53:20Z"}},`, `lat: "here" is not a position`},
		{"a signal without a time", `{"rawSignals":[` + "\n" + `{"position":{"LatLng":"1,2"}},`, "ts: missing"},
		{"a point of another shape", `{"semanticSegments":[` + "\n" + `{"timelinePath":[7]},`, "not an entry of a timeline"},
		{"a point without a time", `{"semanticSegments":[` + "\n" + `{"timelinePath":[{"point":"1°, 2°"}]},`, "ts: missing"},
		{"a point of no minute", `{"semanticSegments":[` + "\n" + `{"startTime":"2025-10-09T08:53:20Z","timelinePath":[{"point":"1°, 2°"}]},`, "ts: neither whole ms"},
		{"a segment that is a list", `{"semanticSegments":[` + "\n" + `[],`, "not an entry of a timeline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, errs := readAll(t, "a.json", tt.text+"{}]}")
			if len(errs) != 1 || !strings.HasPrefix(errs[0], "a.json line 2: ") || !strings.Contains(errs[0], tt.want) {
				t.Errorf("errors %q, want %q", errs, tt.want)
			}
		})
	}
}

// A segment is read to its end once, whatever comes behind it.
func TestPathEndsOnce(t *testing.T) {
	text := `{"semanticSegments":[{"timelinePath":[{"point":"1°, 2°","time":"2025-10-09T08:53:20Z"}]},tru` + strings.Repeat(" ", 100)
	if pings, _, errs := readAll(t, "a.json", text); len(pings) != 1 || len(errs) != 2 {
		t.Errorf("%d pings, %q", len(pings), errs)
	}
}
