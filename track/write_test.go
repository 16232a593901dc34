package track

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"pingline"
)

func TestAppendPing(t *testing.T) {
	full := pingline.Ping{Rider: "r-1", Device: "watch", Event: "sos", Trip: "t:7", Fix: pingline.Fix{
		At: 1760000000123, LatE7: 411578120, LonE7: -86291050,
		Speed: 7.42, Heading: 183.5, Accuracy: 5, Altitude: -3.4, Battery: 0.81, Known: 31,
	}}
	for _, tt := range []struct {
		name string
		ping pingline.Ping
		want string
	}{
		{"everything", full, `{"rider_id":"r-1","device_id":"watch","ts":1760000000123,"lat":41.157812,"lon":-8.629105,"speed":7.42,"heading":183.5,"accuracy":5,"altitude":-3.4,"battery":0.81,"event":"sos","trip_id":"t:7"}`},
		{"the least", pingline.Ping{Rider: "r", Fix: pingline.Fix{At: -1, LatE7: 1, LonE7: -1800000000}}, `{"rider_id":"r","ts":-1,"lat":0.0000001,"lon":-180}`},
		{"known zeros", pingline.Ping{Rider: "r", Fix: pingline.Fix{LatE7: -5, Known: 31}}, `{"rider_id":"r","ts":0,"lat":-0.0000005,"lon":0,"speed":0,"heading":0,"accuracy":0,"altitude":0,"battery":0}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendPing(nil, &tt.ping)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAppendNumberReadsBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(v float32) {
		text := string(appendNumber(nil, v))
		got, err := strconv.ParseFloat(text, 64)
		if err != nil || float32(got) != v || !json.Valid([]byte(text)) {
			t.Fatalf("%g was written as %s", v, text)
		}
	}
	for range 200_000 {
		check(float32(rng.IntN(2e7)-1e7) / 100)
		check(math.Float32frombits(rng.Uint32N(0x7f800000))) // any finite one
		check(-rng.Float32())
	}
	for _, v := range []float32{0, 0.001, 0.01, 99999.99, 100000, 1e6, -1e5, math.MaxFloat32, math.SmallestNonzeroFloat32} {
		check(v)
	}
}

func TestAppendFixedReadsBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	check := func(v int32) {
		text := string(appendFixed(nil, int64(v), 7))
		got, err := strconv.ParseFloat(text, 64)
		if err != nil || int32(math.Round(got*1e7)) != v || !json.Valid([]byte(text)) {
			t.Fatalf("%d was written as %s", v, text)
		}
	}
	for range 100_000 {
		check(rng.Int32N(1_800_000_001))
		check(-rng.Int32N(1000) * 10_000_000 / 7)
	}
	for _, v := range []int32{0, 1, -1, 10, 9_999_999, 10_000_000, -10_000_001, 1_800_000_000, -1_800_000_000} {
		check(v)
	}
}

func BenchmarkAppendPing(b *testing.B) {
	p := pingline.Ping{Rider: "r-000123", Fix: pingline.Fix{
		At: 1760000000123, LatE7: 411578123, LonE7: -86291054, Speed: 7.42, Heading: 183.5, Accuracy: 5, Battery: 0.81,
		Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasBattery,
	}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPing(buf[:0], &p)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
}
