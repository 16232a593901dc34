package opengts

import (
	"math"
	"testing"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

func TestGPSLogger(t *testing.T) {
	casetest.Run(t, Protocol, "opengts.jsonl", casetest.Rules{})
}

// Sentences, and why one is no ping.
func TestSentences(t *testing.T) {
	for sentence, want := range map[string]string{
		"$GPRMC,085310,A,4109.468,N,00837.746,W,14.4,22.0,091025,,*1C":     "",
		"$GPRMC,085310.862,A,4109.468,N,00837.746,W,,,091025,,":            "",
		"$GNRMC,085310,A,4109.468,S,00837.746,E,14.4,22.0,091025":          "",
		"$GPRMC,085310,V,4109.468,N,00837.746,W,14.4,22.0,091025,,*1C":     "lat",
		"$GPRMC,085310,A,4109.468,X,00837.746,W,14.4,22.0,091025,,*1C":     "lat",
		"$GPRMC,085310,A,4109.468,N,00837.746,,14.4,22.0,091025,,*1C":      "lon",
		"$GPRMC,085310,A,4109.468,N,00837.746,W,14.4,22.0,311325,,*1C":     "ts",
		"$GPRMC,085310,A,4109.468,N,00837.746,W,14.4,22.0*1C":              "lat",
		"$GPGGA,085310,4109.468,N,00837.746,W,1,8,0.9,545.4,M,46.9,M,,*47": "lat",
		"hello": "lat",
	} {
		r := phone.Request{Query: "dev=r-1&gprmc=" + sentence, Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
		var pings phone.Pings
		if err := Protocol.Read(&r, &pings); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			if len(pings.List) != 1 || math.Abs(math.Abs(pings.List[0].Lat())-41.1578) > 1e-6 || pings.List[0].At/1000 != 1759999990 {
				t.Errorf("%s: %+v, rejected %+v", sentence, pings.List, pings.Rejected)
			}
			continue
		}
		if len(pings.Rejected) != 1 || pings.Rejected[0].Field != want {
			t.Errorf("%s: %+v, rejected %+v, want for %s", sentence, pings.List, pings.Rejected, want)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	r := phone.Request{
		Query: "id=99&dev=99&acct=ACCT&batt=82&code=0xF020&alt=49&gprmc=$GPRMC,085310,A,4109.46800,N,837.74600,W,36.933045,22.000000,091025,,*0C",
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
