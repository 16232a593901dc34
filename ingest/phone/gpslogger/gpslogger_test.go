package gpslogger

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

func TestGPSLogger(t *testing.T) {
	casetest.Run(t, Protocol, "gpslogger.jsonl", casetest.Rules{
		Path:   func(*casetest.Case) string { return "/v1/gpslogger" },
		Except: map[string]string{"gpslogger-027": "0,0 is no place of a rider: every protocol rejects it"},
	})
}

// What the documented template and its common variants are read as.
func TestTemplates(t *testing.T) {
	for _, tt := range []struct {
		name, query, body, rider string
		at                       int64
		speed                    float32
		status                   int
	}{
		{"time is exact to the millisecond, timestamp is not", "id=r&lat=41.1&lon=-8.6&timestamp=1759999990&time=2025-10-09T08:53:10.862Z&spd=2.5", "", "r", 1759999990862, 2.5, 200},
		{"timestamp alone", "id=r&lat=41.1&lon=-8.6&timestamp=1759999990", "", "r", 1759999990000, 0, 200},
		{"an offset that is not escaped", "id=r&lat=41.1&lon=-8.6&timeoffset=2025-10-09T10:53:10.862+02:00", "", "r", 1759999990862, 0, 200},
		{"speed in km/h", "id=r&lat=41.1&lon=-8.6&spd_kph=9", "", "r", 1760000000123, 2.5, 200},
		{"speed in m/s and km/h", "id=r&lat=41.1&lon=-8.6&spd=2.5&spd_kph=90", "", "r", 1760000000123, 2.5, 200},
		{"the URL names the rider, %ALL has the phone's own id", "id=r", "lat=41.1&lon=-8.6&aid=ffff&", "r", 1760000000123, 0, 200},
		{"%ALL alone", "", "lat=41.1&lon=-8.6&aid=ffff&ser=1&", "ffff", 1760000000123, 0, 200},
		{"a serial number that Android does not tell", "", "lat=41.1&lon=-8.6&ser=unknown", "", 0, 0, 400},
		{"a rider of that name", "id=unknown", "lat=41.1&lon=-8.6&ser=unknown", "unknown", 1760000000123, 0, 200},
		{"JSON", "id=r", `{"lat":41.1,"lon":"-8.6","spd":2.5,"timestamp":1759999990}`, "r", 1759999990000, 2.5, 200},
		{"no rider", "lat=41.1&lon=-8.6", "", "", 0, 0, 400},
		{"no position", "id=r", "", "", 0, 0, 400},
		{"a name that the app does not know", "id=r&lat=%25LATITUDE&lon=-8.6", "", "", 0, 0, 400},
		{"a date without a time", "id=r&lat=41.1&lon=-8.6&time=2025-10-09", "", "", 0, 0, 400},
		{"a position that is too old", "id=r&lat=41.1&lon=-8.6&timestamp=1", "", "", 0, 0, 200},
		{"a body that is broken", "id=r", `{"lat":`, "", 0, 0, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := phone.Request{Method: http.MethodPost, Path: "/v1/gpslogger", Query: tt.query, Body: []byte(tt.body), Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
			var pings phone.Pings
			err := Protocol.Read(&r, &pings)
			got := phone.Outcome{Err: err, Pings: &pings, Judged: make([]pingline.Verdict, len(pings.List))}
			reply := phone.Reply{Status: http.StatusOK}
			if Protocol.Reply(&reply, &r, &got); reply.Status != tt.status {
				t.Errorf("%d %s, want %d", reply.Status, reply.Body, tt.status)
			}
			switch {
			case len(pings.List) > 1 || (len(pings.List) == 1) != (tt.rider != ""):
				t.Errorf("%+v, rejected %+v, %v", pings.List, pings.Rejected, err)
			case tt.rider != "":
				p := pings.List[0]
				if p.Rider != tt.rider || p.At != tt.at || p.Speed != tt.speed || p.Has(pingline.HasSpeed) != (tt.speed > 0) {
					t.Errorf("%+v, want %+v", p, tt)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{
		Query: "id=r-1&lat=41.1578120&lon=-8.6291050&time=2025-10-09T08:53:10.862Z&acc=5.0&alt=80.5&spd=2.5&dir=26.25&batt=88.0",
		Now:   phonetest.Now, Limits: phone.Limits{}.WithDefaults(),
	}
	var pings phone.Pings
	b.ReportAllocs()
	for b.Loop() {
		if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != 1 {
			b.Fatal(err, pings.Rejected)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
}
