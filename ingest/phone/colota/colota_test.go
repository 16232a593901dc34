package colota

import (
	"net/http"
	"testing"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestCases(t *testing.T) { casetest.Run(t, Protocol, "colota.jsonl", casetest.Rules{}) }

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{
		Body:  []byte(`{"rider_id":"ana","lat":48.135124,"lon":11.581981,"acc":12,"alt":519,"vel":3.4,"batt":85,"bs":2,"tst":1759999990,"bear":180.5}`),
		Rider: "ana", Header: http.Header{}, Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults(),
	}
	var pings phone.Pings
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Body)))
	for b.Loop() {
		if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != 1 {
			b.Fatal(err, pings.Rejected)
		}
	}
}
