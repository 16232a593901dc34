package pingline

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

func TestAppendLine(t *testing.T) {
	bare := Entry{Ping: Ping{Rider: "r-1", Fix: Fix{At: 1_760_000_000_123, LatE7: 411578120, LonE7: -86291050}}, Verdict: Accepted}
	for _, tt := range []struct {
		name string
		edit func(e *Entry)
		want string
	}{
		{"the least", func(*Entry) {}, `location,rider=r-1 lat=41.157812,lon=-8.629105 1760000000123000000`},
		{"a usual one", func(e *Entry) {
			e.Cell, e.Skipped = 0x8539220ffffffff, 7
			e.Speed, e.Heading, e.Accuracy, e.Battery = 7.42, 183.5, 5, 0.81
			e.Known = HasSpeed | HasHeading | HasAccuracy | HasBattery
		}, `location,cell=8539220ffffffff,rider=r-1 lat=41.157812,lon=-8.629105,speed=7.42,heading=183.5,accuracy=5,battery=0.81,skipped=7i 1760000000123000000`},
		{"everything", func(e *Entry) {
			*e = everything
			e.At, e.Apart = 1_760_000_000_123, false
		}, `location,cell=8539220ffffffff,device=d@2,late=1,rider=r:1 lat=-0.0000001,lon=180,speed=0.1,heading=360,accuracy=1000000,altitude=-100000,battery=1,event="trip_start",trip="t.3",skipped=4294967295i 1760000000123000000`},
		{"zero is not unknown", func(e *Entry) { e.Known = HasSpeed | HasAltitude }, `location,rider=r-1 lat=41.157812,lon=-8.629105,speed=0,altitude=0 1760000000123000000`},
		{"what was not stored makes the same line", func(e *Entry) { e.Verdict, e.State, e.SubKey, e.Promoted = Held, 3, 9, true }, `location,rider=r-1 lat=41.157812,lon=-8.629105 1760000000123000000`},
		{"whole degrees", func(e *Entry) { e.LatE7, e.LonE7 = -900000000, 0 }, `location,rider=r-1 lat=-90,lon=0 1760000000123000000`},
		{"zeros within a fraction", func(e *Entry) { e.LatE7, e.LonE7 = 10000010, -1000 }, `location,rider=r-1 lat=1.000001,lon=-0.0001 1760000000123000000`},
		{"before 1970", func(e *Entry) { e.At = -1 }, `location,rider=r-1 lat=41.157812,lon=-8.629105 -1000000`},
		{"apart", func(e *Entry) { e.Apart = true }, `location,rider=r-1 lat=41.157812,lon=-8.629105 1760000000123862046`},
		{"apart with an event", func(e *Entry) { e.Apart, e.Event = true, "sos" }, `location,rider=r-1 lat=41.157812,lon=-8.629105,event="sos" 1760000000123324825`},
		{"apart before 1970", func(e *Entry) { e.Apart, e.At = true, -1 }, `location,rider=r-1 lat=41.157812,lon=-8.629105 -137954`},
		{"no exponents", func(e *Entry) { e.Speed, e.Known = 1e-10, HasSpeed }, `location,rider=r-1 lat=41.157812,lon=-8.629105,speed=0.0000000001 1760000000123000000`},
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
func checkLine(t *testing.T, e *Entry) {
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
	ms, in := new(big.Int).DivMod(ns, big.NewInt(NanosPerMilli), new(big.Int))
	if outside := max(e.At, -e.At) >= math.MaxInt64/NanosPerMilli || e.At == math.MinInt64; ms.Cmp(big.NewInt(e.At)) != 0 || (in.Sign() != 0) != (e.Apart && !outside) {
		t.Errorf("time = %s, want %d ms, apart: %v", text, e.At, e.Apart)
	}
	if d.Next() {
		t.Errorf("more than one point in %q", line)
	}
}

func checkTags(t *testing.T, d *lineprotocol.Decoder, e *Entry) {
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

func checkFields(t *testing.T, d *lineprotocol.Decoder, e *Entry) {
	t.Helper()
	want := map[string]any{"lat": e.LatE7, "lon": e.LonE7}
	for i := range Numbers {
		if k := HasSpeed << i; e.Has(k) {
			want[Numbers[i].Key] = optionalOf(&e.Fix, k)
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
			got = int32(math.Round(value.FloatV() * E7))
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
			e := Entry{Ping: Ping{Rider: "r", Event: event, Fix: Fix{At: 1_760_000_000_123, LatE7: 411578120 + int32(i), LonE7: -86291050}}, Apart: true}
			line := strings.TrimSuffix(string(AppendLine(nil, &e)), "\n")
			e.Skipped, e.Late, e.Speed, e.Known, e.State, e.Trip = 7, true, 3, HasSpeed, 9, "t"
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

func FuzzAppendLine(f *testing.F) {
	f.Add("r-1", "d@2", "sos", "t:1", int64(1_760_000_000_123), 41.157812, -8.629105, 7.42, 183.5, 5.0, -3.4, 0.81, uint64(0x8539220ffffffff), uint32(7), true, true)
	f.Add("r", "", "", "", int64(-1), -1e-7, 180.0, -1.0, -1.0, -1.0, -1e6, -1.0, uint64(0), uint32(0), false, false)
	f.Add("r", "", "", "", int64(0), 1.0, 1.0, 1e-45, 1e-30, 16777216.0, 99999.99, 0.3333333, uint64(1), uint32(1), false, true)
	f.Fuzz(func(t *testing.T, rider, device, event, trip string, at int64,
		lat, lon, speed, heading, accuracy, altitude, battery float64, cell uint64, skipped uint32, late, apart bool) {
		e := Entry{Ping: Ping{Rider: rider, Fix: Fix{At: at}}, Cell: cell, Skipped: skipped, Late: late, Apart: apart, Verdict: Accepted}
		if CheckName("rider_id", rider) != nil || e.SetPosition(lat, lon) != nil {
			return
		}
		if CheckName("device_id", device) == nil {
			e.Device = device
		}
		if CheckEvent(event) == nil {
			e.Event = event
		}
		if CheckName("trip_id", trip) == nil {
			e.Trip = trip
		}
		for i, v := range []float64{speed, heading, accuracy, altitude, battery} {
			e.SetOptional(HasSpeed<<i, v)
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
