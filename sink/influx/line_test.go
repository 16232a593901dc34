package influx

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"pingline"
)

func TestAppendLine(t *testing.T) {
	bare := pingline.Entry{Ping: pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: 1_760_000_000_123, LatE7: 411578120, LonE7: -86291050}}, Verdict: pingline.Accepted}
	for _, tt := range []struct {
		name string
		edit func(e *pingline.Entry)
		want string
	}{
		{"the least", func(*pingline.Entry) {}, `location,rider=r-1 lat=41.157812,lon=-8.629105 1760000000123000000`},
		{"a usual one", func(e *pingline.Entry) {
			e.Cell, e.Skipped = 0x8539220ffffffff, 7
			e.Speed, e.Heading, e.Accuracy, e.Battery = 7.42, 183.5, 5, 0.81
			e.Known = pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasBattery
		}, `location,cell=8539220ffffffff,rider=r-1 lat=41.157812,lon=-8.629105,speed=7.42,heading=183.5,accuracy=5,battery=0.81,skipped=7i 1760000000123000000`},
		{"everything", func(e *pingline.Entry) {
			*e = everything
			e.At, e.Apart = 1_760_000_000_123, false
		}, `location,cell=8539220ffffffff,device=d@2,late=1,rider=r:1 lat=-0.0000001,lon=180,speed=0.1,heading=360,accuracy=1000000,altitude=-100000,battery=1,event="trip_start",trip="t.3",skipped=4294967295i 1760000000123000000`},
		{"zero is not unknown", func(e *pingline.Entry) { e.Known = pingline.HasSpeed | pingline.HasAltitude }, `location,rider=r-1 lat=41.157812,lon=-8.629105,speed=0,altitude=0 1760000000123000000`},
		{"what was not stored makes the same line", func(e *pingline.Entry) { e.Verdict, e.State, e.SubKey, e.Promoted = pingline.Held, 3, 9, true }, `location,rider=r-1 lat=41.157812,lon=-8.629105 1760000000123000000`},
		{"whole degrees", func(e *pingline.Entry) { e.LatE7, e.LonE7 = -900000000, 0 }, `location,rider=r-1 lat=-90,lon=0 1760000000123000000`},
		{"zeros within a fraction", func(e *pingline.Entry) { e.LatE7, e.LonE7 = 10000010, -1000 }, `location,rider=r-1 lat=1.000001,lon=-0.0001 1760000000123000000`},
		{"before 1970", func(e *pingline.Entry) { e.At = -1 }, `location,rider=r-1 lat=41.157812,lon=-8.629105 -1000000`},
		{"apart", func(e *pingline.Entry) { e.Apart = true }, `location,rider=r-1 lat=41.157812,lon=-8.629105 1760000000123862046`},
		{"apart with an event", func(e *pingline.Entry) { e.Apart, e.Event = true, "sos" }, `location,rider=r-1 lat=41.157812,lon=-8.629105,event="sos" 1760000000123324825`},
		{"apart before 1970", func(e *pingline.Entry) { e.Apart, e.At = true, -1 }, `location,rider=r-1 lat=41.157812,lon=-8.629105 -137954`},
		{"no exponents", func(e *pingline.Entry) { e.Speed, e.Known = 1e-10, pingline.HasSpeed }, `location,rider=r-1 lat=41.157812,lon=-8.629105,speed=0.0000000001 1760000000123000000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := bare
			tt.edit(&e)
			got := string(AppendLine([]byte("before\n"), &e))
			if want := "before\n" + tt.want + "\n"; got != want {
				t.Errorf("line = %s want %s", got, want)
			}
			checkLine(t, &e)
		})
	}
}

// checkLine reads e's line with the decoder of the makers of InfluxDB and checks
// that it says all that e does, and no more.
func checkLine(t *testing.T, e *pingline.Entry) {
	t.Helper()
	line := AppendLine(nil, e)
	d := lineprotocol.NewDecoderWithBytes(line)
	if !d.Next() {
		t.Fatalf("no point in %q", line)
	}
	if m, err := d.Measurement(); err != nil || string(m) != Measurement {
		t.Errorf("measurement = %q, %v", m, err)
	}
	checkTags(t, d, e)
	checkFields(t, d, e)
	text, err := d.TimeBytes()
	ns, ok := new(big.Int).SetString(string(text), 10)
	if err != nil || !ok {
		t.Fatalf("time = %s, %v", text, err)
	}
	ms, in := new(big.Int).DivMod(ns, big.NewInt(pingline.NanosPerMilli), new(big.Int))
	if outside := max(e.At, -e.At) >= math.MaxInt64/pingline.NanosPerMilli || e.At == math.MinInt64; ms.Cmp(big.NewInt(e.At)) != 0 || (in.Sign() != 0) != (e.Apart && !outside) {
		t.Errorf("time = %s, want %d ms, apart: %v", text, e.At, e.Apart)
	}
	if d.Next() {
		t.Errorf("more than one point in %q", line)
	}
}

func checkTags(t *testing.T, d *lineprotocol.Decoder, e *pingline.Entry) {
	t.Helper()
	want := map[string]string{"rider": e.Rider}
	if e.Cell != 0 {
		want["cell"] = strconv.FormatUint(e.Cell, 16)
	}
	if e.Device != "" {
		want["device"] = e.Device
	}
	if e.Late {
		want["late"] = "1"
	}
	last := ""
	for {
		key, value, err := d.NextTag()
		if err != nil {
			t.Fatalf("tag: %v", err)
		}
		if key == nil {
			break
		}
		if string(key) <= last {
			t.Errorf("tag %s behind %s", key, last)
		}
		last = string(key)
		if v, ok := want[last]; !ok || v != string(value) {
			t.Errorf("tag %s = %s, want %q", key, value, v)
		}
		delete(want, last)
	}
	if len(want) > 0 {
		t.Errorf("tags missing: %v", want)
	}
}

func checkFields(t *testing.T, d *lineprotocol.Decoder, e *pingline.Entry) {
	t.Helper()
	want := map[string]any{"lat": e.LatE7, "lon": e.LonE7}
	for i := range pingline.Numbers {
		if k := pingline.HasSpeed << i; e.Has(k) {
			want[pingline.Numbers[i].Key] = e.Fix.Numbers()[i]
		}
	}
	if e.Event != "" {
		want["event"] = e.Event
	}
	if e.Trip != "" {
		want["trip"] = e.Trip
	}
	if e.Skipped != 0 {
		want["skipped"] = int64(e.Skipped)
	}
	for {
		key, value, err := d.NextField()
		if err != nil {
			t.Fatalf("field: %v", err)
		}
		if key == nil {
			break
		}
		got := value.Interface()
		switch want[string(key)].(type) {
		case int32:
			got = int32(math.Round(value.FloatV() * pingline.E7))
		case float32:
			got = float32(value.FloatV())
		}
		if got != want[string(key)] {
			t.Errorf("field %s = %v (%T), want %v", key, got, got, want[string(key)])
		}
		delete(want, string(key))
	}
	if len(want) > 0 {
		t.Errorf("fields missing: %v", want)
	}
}

// Pings apart of one ms have instants of their own, which follow from what they
// say and from nothing else.
func TestPingsApartDoNotMeet(t *testing.T) {
	at := map[string]string{}
	for i := range 40 {
		for _, event := range []string{"", "sos", "trip_end", "trip_start"} {
			e := pingline.Entry{Ping: pingline.Ping{Rider: "r", Event: event, Fix: pingline.Fix{At: 1_760_000_000_123, LatE7: 411578120 + int32(i), LonE7: -86291050}}, Apart: true}
			line := strings.TrimSuffix(string(AppendLine(nil, &e)), "\n")
			e.Skipped, e.Late, e.Speed, e.Known, e.State, e.Trip = 7, true, 3, pingline.HasSpeed, 9, "t"
			again := strings.TrimSuffix(string(AppendLine(nil, &e)), "\n")
			ns := line[strings.LastIndexByte(line, ' ')+1:]
			if !strings.HasSuffix(again, " "+ns) || !strings.HasPrefix(ns, "1760000000123") {
				t.Errorf("the same ping is at two instants:\n%s\n%s", line, again)
			}
			if other, ok := at[ns]; ok {
				t.Errorf("two points at one instant:\n%s\n%s", line, other)
			}
			at[ns] = line
		}
	}
}

func TestAppendShortest(t *testing.T) {
	check := func(v float32) {
		got, want := appendShortest([]byte("x"), v), strconv.AppendFloat([]byte("x"), float64(v), 'f', -1, 32)
		if string(got) != string(want) {
			t.Fatalf("%x is written as %s, want %s", math.Float32bits(v), got[1:], want[1:])
		}
	}
	for n := range 10_000_000 {
		if n < 50_000 || n%97 == 0 {
			for _, scale := range []float64{1, 10, 100, 1000} {
				v := float32(float64(n) / scale)
				check(v)
				check(-v)
				check(math.Nextafter32(v, math.MaxFloat32))
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1_000_000 {
		if v := math.Float32frombits(rng.Uint32()); v-v == 0 { // finite
			check(v)
		}
	}
	for _, v := range []float32{float32(math.Copysign(0, -1)), 1 << 24, 1<<24 - 1, 1<<24 + 2, 167772.15, 1677721.5, math.MaxFloat32, math.SmallestNonzeroFloat32} {
		check(v)
		check(-v)
	}
}

func FuzzAppendLine(f *testing.F) {
	f.Add("r-1", "d@2", "sos", "t:1", int64(1_760_000_000_123), 41.157812, -8.629105, 7.42, 183.5, 5.0, -3.4, 0.81, uint64(0x8539220ffffffff), uint32(7), true, true)
	f.Add("r", "", "", "", int64(-1), -1e-7, 180.0, -1.0, -1.0, -1.0, -1e6, -1.0, uint64(0), uint32(0), false, false)
	f.Add("r", "", "", "", int64(0), 1.0, 1.0, 1e-45, 1e-30, 16777216.0, 99999.99, 0.3333333, uint64(1), uint32(1), false, true)
	f.Fuzz(func(t *testing.T, rider, device, event, trip string, at int64,
		lat, lon, speed, heading, accuracy, altitude, battery float64, cell uint64, skipped uint32, late, apart bool) {
		e := pingline.Entry{Ping: pingline.Ping{Rider: rider, Fix: pingline.Fix{At: at}}, Cell: cell, Skipped: skipped, Late: late, Apart: apart, Verdict: pingline.Accepted}
		if pingline.CheckID("rider_id", rider) != nil || e.SetPosition(lat, lon) != nil {
			return
		}
		if pingline.CheckID("device_id", device) == nil {
			e.Device = device
		}
		if pingline.CheckEvent(event) == nil {
			e.Event = event
		}
		if pingline.CheckID("trip_id", trip) == nil {
			e.Trip = trip
		}
		for i, v := range []float64{speed, heading, accuracy, altitude, battery} {
			e.SetOptional(pingline.HasSpeed<<i, v)
		}
		checkLine(t, &e)
	})
}

func BenchmarkAppendLine(b *testing.B) {
	entries, buf := sampleEntries(1000), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for i := range entries {
			buf = AppendLine(buf, &entries[i])
		}
	}
	reportPings(b, len(entries), len(buf))
}

func TestAppendLineAllocatesNothing(t *testing.T) {
	entries, buf := sampleEntries(100), make([]byte, 0, 1<<16)
	if n := testing.AllocsPerRun(10, func() {
		for i := range entries {
			buf = AppendLine(buf[:0], &entries[i])
		}
	}); n > 0 {
		t.Errorf("%v allocations for %d lines", n, len(entries))
	}
	if strings.Count(string(buf), "\n") != 1 {
		t.Errorf("no line: %q", buf)
	}
}

func TestAppendPoint(t *testing.T) {
	got := string(AppendPoint([]byte("before\n"), figures()))
	want := `before` + "\n" + `a\ name,cell=8839220f09fffff,node=a\ node\,\ of\=ours n=-9223372036854775808i,share=0.1,note="say \"so\" \\ é",on=true,off=false,m=5i,whole=3 1759999990123000000` + "\n"
	if got != want {
		t.Errorf("AppendPoint = %s, want %s", got, want)
	}
}

// The decoder of the makers of InfluxDB reads what was said, and its row is never
// longer than Size says.
func FuzzAppendPoint(f *testing.F) {
	f.Add("a name", "k", "v, =", "f", int64(5), 0.5, `say "so" \`, true, int64(1760000000123))
	f.Add(`n\,`, `k\=`, `v\ v`, `f\,`, int64(math.MinInt64), -math.MaxFloat64, "", false, int64(-1))
	f.Add("n", "a=b", "é", "x=y", int64(0), math.SmallestNonzeroFloat64, "a=b,c d", true, int64(0))
	f.Fuzz(func(t *testing.T, name, key, value, field string, i int64, v float64, text string, on bool, at int64) {
		fields := []pingline.PointField{pingline.Int(field+"i", i), pingline.Float(field+"f", v), pingline.Text(field+"t", text), pingline.Bool(field+"b", on)}
		p := &pingline.Point{Name: name, Tags: []pingline.Tag{{Key: key, Value: value}}, Fields: fields, At: at % (math.MaxInt64 / 2_000_000)}
		if p.Validate() != nil {
			return
		}
		line := AppendPoint(nil, p)
		if len(line) > p.Size() {
			t.Errorf("%d bytes, Size says %d: %s", len(line), p.Size(), line)
		}
		if backslashed(name) || backslashed(key) || backslashed(value) || backslashed(field) {
			return // their decoder and InfluxDB do not agree on these
		}
		d := lineprotocol.NewDecoderWithBytes(line)
		if !d.Next() {
			t.Fatalf("no point in %q", line)
		}
		got := &pingline.Point{}
		m, err := d.Measurement()
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		got.Name = string(m)
		for {
			k, v, err := d.NextTag()
			if err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			if k == nil {
				break
			}
			got.Tags = append(got.Tags, pingline.Tag{Key: string(k), Value: string(v)})
		}
		for {
			k, v, err := d.NextField()
			if err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			if k == nil {
				break
			}
			switch key := string(k); v.Kind() {
			case lineprotocol.Int:
				got.Fields = append(got.Fields, pingline.Int(key, v.IntV()))
			case lineprotocol.Float:
				got.Fields = append(got.Fields, pingline.Float(key, v.FloatV()))
			case lineprotocol.String:
				got.Fields = append(got.Fields, pingline.Text(key, v.StringV()))
			case lineprotocol.Bool:
				got.Fields = append(got.Fields, pingline.Bool(key, v.BoolV()))
			}
		}
		when, err := d.Time(lineprotocol.Nanosecond, time.Time{})
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if got.At = when.UnixMilli(); !got.Equal(p) || d.Next() {
			t.Errorf("read %+v, want %+v: %s", got, p, line)
		}
	})
}

func backslashed(s string) bool { return strings.Contains(s, `\`) }

// everything is an entry that uses all there is, at the ends of the ranges.
var everything = pingline.Entry{
	Ping: pingline.Ping{Rider: "r:1", Device: "d@2", Event: "trip_start", Trip: "t.3", Fix: pingline.Fix{
		At: 1_759_999_999_000, LatE7: -1, LonE7: 1800000000,
		Speed: 0.1, Heading: 360, Accuracy: 1e6, Altitude: -1e5, Battery: 1, Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasAltitude | pingline.HasBattery,
	}},
	Cell: 0x8539220ffffffff, Skipped: math.MaxUint32, SubKey: math.MaxUint16,
	Verdict: pingline.Accepted, Promoted: true, Late: true, Apart: true, State: 255,
}

const commitAt = 1_760_000_000_123

func figures() *pingline.Point {
	return &pingline.Point{
		Name: "a name", Tags: []pingline.Tag{{Key: "cell", Value: "8839220f09fffff"}, {Key: "node", Value: "a node, of=ours"}},
		Fields: []pingline.PointField{pingline.Int("n", math.MinInt64), pingline.Float("share", 0.1), pingline.Text("note", `say "so" \ é`), pingline.Bool("on", true), pingline.Bool("off", false), pingline.Int("m", 5), pingline.Float("whole", 3)},
		At:     commitAt - 10_000,
	}
}

func sampleEntries(n int) []pingline.Entry {
	entries := make([]pingline.Entry, n)
	for i := range entries {
		e := &entries[i]
		e.Rider = fmt.Sprintf("r-%06d", i*977%1_000_000)
		e.Fix = pingline.Fix{
			At: commitAt - int64(i%5000), LatE7: 411578120 + int32(i*1373), LonE7: -86291050 - int32(i*2111),
			Speed: float32(i%191) / 10, Heading: float32(i%3600) / 10, Accuracy: float32(3 + i%20), Battery: float32(i%100) / 100,
			Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasBattery,
		}
		e.Cell, e.Verdict, e.Skipped = 0x8539220ffffffff, pingline.Verdict(1+i%3), uint32(i%12)
	}
	return entries
}

// reportPings adds what a benchmark that did n pings in each turn took for one.
func reportPings(b *testing.B, n, bytes int) {
	pings := float64(b.N * n)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/pings, "ns/ping")
	b.ReportMetric(pings/b.Elapsed().Seconds(), "pings/s")
	b.ReportMetric(float64(bytes)/float64(n), "bytes/ping")
}
