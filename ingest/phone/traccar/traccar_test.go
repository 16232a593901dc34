package traccar

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

func TestForwarding(t *testing.T) {
	casetest.Run(t, Protocol, "traccar_forward.jsonl", casetest.Rules{Except: map[string]string{
		"traccar_forward-002": "the server answers 401 before the protocol is asked",
	}})
}

// What is forwarded, and what comes of it.
func TestPositions(t *testing.T) {
	for _, tt := range []struct {
		name, body, key, rider, device, event string
		at                                    int64
		status                                int
	}{
		{"of Jackson", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6,"fixTime":"2025-10-09T08:53:10.000+00:00"}}`, "", "7", "", "", 1759999990000, 200},
		{"ms", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6,"fixTime":1759999990862}}`, "", "7", "", "", 1759999990862, 200},
		{"the next time", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6,"fixTime":null,"deviceTime":1759999990862}}`, "", "7", "", "", 1759999990862, 200},
		{"a key's rider", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6,"fixTime":1759999990862}}`, "ana", "ana", "7", "", 1759999990862, 200},
		{"an SOS", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6,"fixTime":1759999990862,"attributes":{"alarm":"lowBattery,sos"}}}`, "", "7", "", "sos", 1759999990862, 200},
		{"no time", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6}}`, "", "", "", "", 0, 200},
		{"not valid", `{"device":{"uniqueId":"7"},"position":{"valid":false,"latitude":41.1,"longitude":-8.6,"fixTime":1759999990862}}`, "", "", "", "", 0, 200},
		{"no time that can be read", `{"device":{"uniqueId":"7"},"position":{"latitude":41.1,"longitude":-8.6,"fixTime":"yesterday"}}`, "", "", "", "", 0, 200},
		{"no position", `{"device":{"uniqueId":"7"},"position":null}`, "", "", "", "", 0, 200},
		{"no device", `{"position":{"latitude":41.1,"longitude":-8.6,"fixTime":1759999990862}}`, "", "", "", "", 0, 400},
		{"no JSON", `device=7`, "", "", "", "", 0, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := phone.Request{Method: http.MethodPost, Path: "/v1/traccar", Body: []byte(tt.body), Rider: tt.key, Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
			var pings phone.Pings
			err := Protocol.Read(&r, &pings)
			got := phone.Outcome{Err: err, Pings: &pings, Judged: make([]pingline.Verdict, len(pings.List))}
			reply := phone.Reply{Status: http.StatusOK}
			if Protocol.Reply(&reply, &r, &got); reply.Status != tt.status {
				t.Errorf("%d %s, want %d", reply.Status, reply.Body, tt.status)
			}
			if (len(pings.List) == 1) != (tt.rider != "") {
				t.Fatalf("%+v, rejected %+v, %v", pings.List, pings.Rejected, err)
			}
			if tt.rider == "" {
				return
			}
			if p := pings.List[0]; p.Rider != tt.rider || p.Device != tt.device || p.Event != tt.event || p.At != tt.at {
				t.Errorf("%+v, want %+v", p, tt)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{
		Body: []byte(`{"position":{"id":1,"attributes":{"batteryLevel":86,"distance":0.0,"totalDistance":0.0,"motion":false},"deviceId":1,"protocol":"osmand","serverTime":"2025-10-09T08:53:11.000+00:00","deviceTime":"2025-10-09T08:53:10.000+00:00","fixTime":"2025-10-09T08:53:10.000+00:00","outdated":false,"valid":true,"latitude":41.157812,"longitude":-8.629105,"altitude":106.0,"speed":1.0,"course":90.0,"address":null,"accuracy":5.0,"network":null},"device":{"id":1,"attributes":{},"groupId":0,"name":"Test","uniqueId":"123456","status":"online","lastUpdate":"2025-10-09T08:53:10.000+00:00"}}`),
		Now:  phonetest.Now, Limits: phone.Limits{}.WithDefaults(),
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
