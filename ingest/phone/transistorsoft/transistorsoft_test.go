package transistorsoft

import (
	"testing"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestRealRequests(t *testing.T) {
	casetest.Run(t, Protocol, "transistorsoft.jsonl", casetest.Rules{})
}

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{Method: "POST", Path: "/v1/transistorsoft", Now: phonetest.Now, Body: []byte(
		`{"location":{"event":"motionchange","is_moving":true,"uuid":"0e9a2473-a9a7-4c00-997b-fb97d2154e75","timestamp":"2025-10-09T08:52:34.444Z",` +
			`"odometer":1204.3,"coords":{"latitude":41.15,"longitude":-8.62,"accuracy":3.8,"speed":8.67,"speed_accuracy":0.26,"heading":63,` +
			`"heading_accuracy":0.28,"altitude":35.7,"altitude_accuracy":3.8},"activity":{"type":"on_bicycle","confidence":100},` +
			`"battery":{"is_charging":false,"level":0.79},"extras":{}},"device_id":"ana"}`)}
	r.Limits = r.Limits.WithDefaults()
	var pings phone.Pings
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Body)))
	for b.Loop() {
		if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != 1 {
			b.Fatal(err, pings.Rejected)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
}
