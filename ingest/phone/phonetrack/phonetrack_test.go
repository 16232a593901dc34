package phonetrack

import (
	"testing"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestRealRequests(t *testing.T) {
	casetest.Run(t, Protocol, "phonetrack.jsonl", casetest.Rules{
		Path:   func(c *casetest.Case) string { return c.Request.Path },
		Except: map[string]string{"phonetrack-008": "two digits of a year are of this century: no ping is of 1998. testdata/opengts.request"},
	})
}

// The name of the phone is found behind the key, which itself is nobody's name.
func TestAddress(t *testing.T) {
	for path, want := range map[string][2]string{
		"/v1/phonetrack/log/osmand/KEY/ana": {"osmand", "ana"}, "/index.php/apps/phonetrack/log/OsmAnd/KEY/ana%20b": {"osmand", "ana b"},
		"/v1/phonetrack/log/owntracks/KEY": {"owntracks", ""}, "/v1/phonetrack/log/ulogger/KEY/ana/client/index.php": {"ulogger", "ana"},
		"/v1/PhoneTrack/logGet/KEY/ana": {"logget", "ana"}, "/v1/phonetrack/log/overland/KEY/yourname": {"overland", ""},
		"/v1/phonetrack/logPost/log/ana": {"logpost", "ana"}, "/v1/phonetrack/log/log/KEY/ana": {"log", "ana"},
		"": {"", ""}, "/v1/phonetrack": {"", ""}, "/v1/phonetrack/log": {"log", ""}, "/v1/phonetrack/log/a/b/%zz": {"a", "%zz"},
	} {
		if app, device := address(path); app != want[0] || device != want[1] {
			t.Errorf("%s: %q, %q, want %q", path, app, device, want)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{
		Method: "GET", Path: "/v1/phonetrack/logGet/KEY/ana", Now: phonetest.Now,
		Query: "lat=41.15&lon=-8.62&timestamp=1760000000&bat=25&sat=10&acc=20&alt=198&speed=2&bearing=180",
	}
	r.Limits = r.Limits.WithDefaults()
	var pings phone.Pings
	b.ReportAllocs()
	for b.Loop() {
		if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != 1 {
			b.Fatal(err, pings.Rejected)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
}
