package osmand

import (
	"net/http"
	"testing"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestTraccarClient(t *testing.T) {
	casetest.Run(t, Protocol, "osmand.jsonl", casetest.Rules{
		Path:   route,
		Except: map[string]string{"osmand-022": nullIsland},
	})
	casetest.Run(t, Protocol, "traccar_json.jsonl", casetest.Rules{
		Path:   route,
		Except: map[string]string{"traccar_json-005": nullIsland},
	})
}

func TestTraccarClientOfDawarich(t *testing.T) {
	casetest.Run(t, Protocol, "dawarich_traccar.jsonl", casetest.Rules{Except: map[string]string{
		"dawarich_traccar-012": "the server answers 401 before the protocol is asked",
	}})
}

func TestOsmAndApp(t *testing.T) {
	casetest.Run(t, Protocol, "osmand_app.jsonl", casetest.Rules{Path: route})
}

const nullIsland = "0,0 is no place of a rider: every protocol rejects it"

func route(*casetest.Case) string { return "/v1/osmand" }

// The unit of speed is what the person has typed, and 400 tells of a unit that is none.
func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		query  string
		speed  float32
		status int
	}{
		{"", 36 * 1852.0 / 3600, 200},
		{"&speed_unit=knots", 36 * 1852.0 / 3600, 200},
		{"&speed_unit=kmh", 10, 200},
		{"&speed_unit=mps", 36, 200},
		{"&speed_unit=MPS", 36, 200},
		{"&speed_unit=mph", 36 * 1609.344 / 3600, 200},
		{"&speed_unit=furlongs", 0, 400},
	} {
		pings, reply := ask(t, phone.Request{Query: "id=r&lat=41.1&lon=-8.6&speed=36" + tt.query})
		var speed float32
		if len(pings.List) == 1 {
			speed = pings.List[0].Speed
		}
		if reply.Status != tt.status || speed != tt.speed {
			t.Errorf("%q: %d %s, speed %v, want %d, %v", tt.query, reply.Status, reply.Body, speed, tt.status, tt.speed)
		}
	}
}

// The rider is that of the key; the phone's own name then tells its phones apart, and is
// no reason to refuse a ping.
func TestWhoSends(t *testing.T) {
	for _, tt := range []struct{ query, key, rider, device string }{
		{"id=7", "", "7", ""},
		{"deviceid=7", "", "7", ""},
		{"id=7", "ana", "ana", "7"},
		{"id=ana", "ana", "ana", ""},
		{"", "ana", "ana", ""},
		{"id=%07", "ana", "ana", ""},
	} {
		pings, _ := ask(t, phone.Request{Query: tt.query + "&lat=41.1&lon=-8.6", Rider: tt.key, Path: "/v1/osmand/not-a-name"})
		if len(pings.List) != 1 || pings.List[0].Rider != tt.rider || pings.List[0].Device != tt.device {
			t.Errorf("%+v: %+v, rejected %+v", tt, pings.List, pings.Rejected)
		}
	}
}

// An SOS comes as an event, from each generation.
func TestSOS(t *testing.T) {
	for _, tt := range []struct{ query, body, event string }{
		{"id=7&lat=41.1&lon=-8.6&alarm=sos", "", "sos"},
		{"id=7&lat=41.1&lon=-8.6&alarm=alert%20message", "", ""},
		{"", "id=7&lat=41.1&lon=-8.6&alarm=SOS", "sos"},
		{"", `{"device_id":"7","location":{"coords":{"latitude":41.1,"longitude":-8.6},"extras":{"alarm":"sos"}}}`, "sos"},
		{"id=7", `[{"lat":41.1,"lon":-8.6,"alarm":"sos"}]`, "sos"},
	} {
		pings, reply := ask(t, phone.Request{Query: tt.query, Body: []byte(tt.body)})
		if len(pings.List) != 1 || pings.List[0].Event != tt.event || reply.Status != 200 {
			t.Errorf("%s%s: %+v, rejected %+v", tt.query, tt.body, pings.List, pings.Rejected)
		}
	}
}

// The body wins over the query, several locations are several pings, and a sample, a position
// that is not valid and a time that is none are no pings.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		query, body     string
		pings, rejected int
		status          int
	}{
		{"id=7&lat=1&lon=1", "lat=41.1&lon=-8.6", 1, 0, 200},
		{"id=7", `{"location":[{"coords":{"latitude":41.1,"longitude":-8.6}},{"coords":{"latitude":41.1,"longitude":-8.6}}]}`, 2, 0, 200},
		{"id=7", `{"location":{"sample":true,"coords":{"latitude":41.1,"longitude":-8.6}}}`, 0, 0, 200},
		{"id=7&valid=0&lat=41.1&lon=-8.6", "", 0, 1, 200},
		{"id=7", `{"valid":false,"lat":41.1,"lon":-8.6}`, 0, 1, 200},
		{"id=7", `{"valid":true,"lat":41.1,"lon":-8.6}`, 1, 0, 200},
		{"id=7", `{"location":"41.1,-8.6"}`, 1, 0, 200},
		{"id=7&lat=41.1&lon=-8.6&timestamp=yesterday", "", 0, 1, 200},
		{"id=7&lat=41.1", "", 0, 1, 200},
		{"", "", 0, 1, 400},
		{"", `[{"lat":41.1,"lon":-8.6},{"id":"7","lat":41.1,"lon":-8.6}]`, 1, 1, 200},
		{"id=7", `{"lat":`, 0, 0, 200},
		{"id=7", `[]`, 0, 0, 200},
		{"id=7", `[5]`, 0, 0, 200},
	} {
		pings, reply := ask(t, phone.Request{Query: tt.query, Body: []byte(tt.body)})
		if len(pings.List) != tt.pings || len(pings.Rejected) != tt.rejected || reply.Status != tt.status {
			t.Errorf("%s %s: %d, %+v, rejected %+v; want %+v", tt.query, tt.body, reply.Status, pings.List, pings.Rejected, tt)
		}
		for _, p := range pings.List {
			if p.Lat() != 41.1 {
				t.Errorf("%s %s: %v", tt.query, tt.body, p)
			}
		}
	}
}

func ask(t *testing.T, r phone.Request) (*phone.Pings, phone.Reply) {
	t.Helper()
	r.Method, r.Now, r.Limits = http.MethodPost, phonetest.Now, phone.Limits{}.WithDefaults()
	if r.Path == "" {
		r.Path = "/v1/osmand"
	}
	var pings phone.Pings
	err := Protocol.Read(&r, &pings)
	got := phone.Outcome{Err: err, Pings: &pings, Judged: make([]pingline.Verdict, len(pings.List))}
	reply := phone.Reply{Status: http.StatusOK}
	Protocol.Reply(&reply, &r, &got)
	return &pings, reply
}

func BenchmarkDecode(b *testing.B) {
	for name, r := range map[string]phone.Request{
		"query": {Query: "id=48241179&timestamp=1760000000&lat=41.1578120&lon=-8.6291050&speed=19.44&bearing=90.0&altitude=5.0&accuracy=5.0&batt=88&charge=false"},
		"json": {Body: []byte(`{"location":{"timestamp":"2025-10-09T08:53:20.000Z","coords":{"latitude":41.157812,"longitude":-8.629105,"accuracy":5,"speed":10,"heading":-1,"altitude":5},` +
			`"is_moving":false,"odometer":0,"event":"motionchange","battery":{"level":1,"is_charging":false},"activity":{"type":"still"},"extras":{}},"device_id":"48241179"}`)},
	} {
		b.Run(name, func(b *testing.B) {
			r.Now, r.Limits = phonetest.Now, phone.Limits{}.WithDefaults()
			var pings phone.Pings
			b.ReportAllocs()
			for b.Loop() {
				if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != 1 {
					b.Fatal(err, pings.Rejected)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
		})
	}
}
