package overland

import (
	"testing"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestRealRequests(t *testing.T) {
	const asked = "the server asks for keys before the protocol is asked"
	casetest.Run(t, Protocol, "overland.jsonl", casetest.Rules{Except: map[string]string{
		"overland-006": "the second of two pings of an instant is a duplicate to the filter, and no other ping to the protocol",
		"overland-015": "the app puts owntracks/ before its device id, which names the rider in its other modes: testdata/owntracks.request",
		"overland-007": asked, "overland-011": asked,
	}})
	casetest.Run(t, Protocol, "dawarich_points.jsonl", casetest.Rules{Path: func(*casetest.Case) string { return points }})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"locations":[`)
	const n = 100
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, location...)
	}
	r := phone.Request{Method: "POST", Path: "/v1/overland", Body: append(body, "]}"...), Now: phonetest.Now}
	r.Limits = r.Limits.WithDefaults()
	var pings phone.Pings
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Body)))
	for b.Loop() {
		if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != n {
			b.Fatal(err, pings.Rejected)
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "pings/s")
}

const location = `{"type":"Feature","geometry":{"type":"Point","coordinates":[28.9784123,41.0082123]},"properties":{` +
	`"timestamp":"2025-10-09T08:50:00Z","altitude":40,"speed":7,"course":183,"horizontal_accuracy":5,"vertical_accuracy":3,"speed_accuracy":1,` +
	`"course_accuracy":4,"motion":["cycling"],"battery_state":"unplugged","battery_level":0.81,"wifi":"","device_id":"ana","trip_id":"2025-10-09T08:00:00Z"}}`
