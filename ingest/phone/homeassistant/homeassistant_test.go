package homeassistant

import (
	"strings"
	"testing"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestRealRequests(t *testing.T) {
	casetest.Run(t, Protocol, "homeassistant.jsonl", casetest.Rules{Path: func(c *casetest.Case) string {
		if strings.HasPrefix(c.Request.Path, "/api/webhook/") {
			return c.Request.Path
		}
		return "/v1/homeassistant"
	}})
}

// A secret in the path names nobody, with and without keys.
func TestSecretsAreNoRiders(t *testing.T) {
	for id, want := range map[string]string{
		"ana": "ana", "ana%40example": "ana@example", strings.Repeat("a", 32): strings.Repeat("a", 32), strings.Repeat("a", 33): "",
		"pl_x": "", "a.b.c": "", "": "", strings.Repeat("0f", 32): "",
	} {
		if got := nameOf("/api/webhook/" + id); got != want {
			t.Errorf("%s names %q, want %q", id, got, want)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{Method: "POST", Path: "/api/webhook/ana", Now: phonetest.Now, Body: []byte(
		`{"type":"update_location","data":{"gps":[41.15,-8.62],"gps_accuracy":12,"battery":88,"speed":7,"altitude":80,"course":90,"vertical_accuracy":3}}`)}
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
