package pingline

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// checkField checks that err is the refusal of a field that a test wants, or
// nil if it wants none.
func checkField(t *testing.T, err error, want string) {
	t.Helper()
	fe, ok := errors.AsType[*FieldError](err)
	switch {
	case want == "" && err != nil:
		t.Errorf("error = %v, want none", err)
	case want != "" && (!ok || fe.Error() != want || !errors.Is(err, ErrInvalid)):
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestSetPosition(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	const badLat, badLon, zero = "lat: not in [-90, 90]", "lon: not in [-180, 180]", "lat: position 0,0 is refused"
	for _, tt := range []struct {
		name     string
		lat, lon float64
		latE7    int32
		lonE7    int32
		want     string
	}{
		{"a city", 41.157812, -8.629105, 411578120, -86291050, ""},
		{"the north pole and the date line", 90, 180, 900000000, 1800000000, ""},
		{"the south pole and the date line", -90, -180, -900000000, -1800000000, ""},
		{"rounded up", 1.00000005, -1.00000005, 10000001, -10000001, ""},
		{"rounded down", 1.00000004, -1.00000004, 10000000, -10000000, ""},
		{"on the equator", 0, 8, 0, 80000000, ""},
		{"on the meridian of Greenwich", 51, 0, 510000000, 0, ""},
		{"next to 0,0", 1e-7, 0, 1, 0, ""},
		{"0,0", 0, 0, 0, 0, zero},
		{"-0,-0", math.Copysign(0, -1), math.Copysign(0, -1), 0, 0, zero},
		{"beyond the pole", math.Nextafter(90, 91), 0, 0, 0, badLat},
		{"beyond the other pole", math.Nextafter(-90, -91), 0, 0, 0, badLat},
		{"beyond the date line", 0, math.Nextafter(180, 181), 0, 0, badLon},
		{"beyond the date line westwards", 0, math.Nextafter(-180, -181), 0, 0, badLon},
		{"no number for a latitude", nan, 0, 0, 0, badLat},
		{"no number for a longitude", 0, nan, 0, 0, badLon},
		{"an infinite latitude", inf, 0, 0, 0, badLat},
		{"an infinite longitude", 0, -inf, 0, 0, badLon},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f Fix
			checkField(t, f.SetPosition(tt.lat, tt.lon), tt.want)
			if f.LatE7 != tt.latE7 || f.LonE7 != tt.lonE7 {
				t.Errorf("position %d, %d, want %d, %d", f.LatE7, f.LonE7, tt.latE7, tt.lonE7)
			}
			if tt.want == "" && (math.Abs(f.Lat()-tt.lat) > 0.51e-7 || math.Abs(f.Lon()-tt.lon) > 0.51e-7) {
				t.Errorf("reads back as %v, %v, want %v, %v", f.Lat(), f.Lon(), tt.lat, tt.lon)
			}
		})
	}
}

// optionalOf returns the number whose bit is k.
func optionalOf(f *Fix, k Known) float32 {
	return map[Known]float32{
		HasSpeed: f.Speed, HasHeading: f.Heading, HasAccuracy: f.Accuracy, HasAltitude: f.Altitude, HasBattery: f.Battery,
	}[k]
}

func TestSetOptional(t *testing.T) {
	const known, unknown, outOfRange = 0, 1, 2
	for _, tt := range []struct {
		name string
		k    Known
		v    float64
		want int
	}{
		{"standing still", HasSpeed, 0, known},
		{"the fastest", HasSpeed, 1000, known},
		{"too fast", HasSpeed, math.Nextafter(1000, 1001), outOfRange},
		{"a phone's -1", HasSpeed, -1, unknown},
		{"a hair below zero", HasSpeed, -1e-300, unknown},
		{"minus infinity", HasSpeed, math.Inf(-1), unknown},
		{"infinity", HasSpeed, math.Inf(1), outOfRange},
		{"no number", HasSpeed, math.NaN(), outOfRange},
		{"minus zero", HasSpeed, math.Copysign(0, -1), known},
		{"north", HasHeading, 0, known},
		{"north again", HasHeading, 360, known},
		{"beyond a full turn", HasHeading, 360.001, outOfRange},
		{"no heading", HasHeading, -1, unknown},
		{"a rough fix", HasAccuracy, 1e6, known},
		{"no fix", HasAccuracy, 1e6 + 1, outOfRange},
		{"no accuracy", HasAccuracy, -1, unknown},
		{"the Dead Sea", HasAltitude, -430.5, known},
		{"the lowest", HasAltitude, -1e5, known},
		{"the highest", HasAltitude, 1e5, known},
		{"below the lowest", HasAltitude, -1e5 - 1, outOfRange},
		{"minus infinity metres", HasAltitude, math.Inf(-1), outOfRange},
		{"empty", HasBattery, 0, known},
		{"full", HasBattery, 1, known},
		{"per cent", HasBattery, 81, outOfRange},
		{"no battery", HasBattery, -1, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const all = HasSpeed | HasHeading | HasAccuracy | HasAltitude | HasBattery
			f := Fix{Speed: 1, Heading: 1, Accuracy: 1, Altitude: 1, Battery: 1, Known: all}
			if got := f.SetOptional(tt.k, tt.v); got != (tt.want == outOfRange) {
				t.Errorf("out of range = %v", got)
			}
			if got := f.Has(tt.k); got != (tt.want == known) {
				t.Errorf("known = %v", got)
			}
			want := float32(0)
			if tt.want == known {
				want = float32(tt.v)
			}
			got := optionalOf(&f, tt.k)
			if got != want || math.Signbit(float64(got)) != (want < 0) {
				t.Errorf("value = %v, want %v", got, want)
			}
			if !f.Has(all &^ tt.k) {
				t.Errorf("known = %b: others were forgotten", f.Known)
			}
		})
	}
}

func TestSetOptionalPanicsForMoreThanOne(t *testing.T) {
	for _, k := range []Known{0, HasSpeed | HasHeading, knownMask + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("SetOptional(%#x) did not panic", k)
				}
			}()
			new(Fix).SetOptional(k, 1)
		}()
	}
}

func TestCheckName(t *testing.T) {
	const set = "rider_id: characters other than A-Z a-z 0-9 . _ : @ -"
	for _, tt := range []struct{ name, want string }{
		{"r", ""},
		{"AZaz09._:@-", ""},
		{strings.Repeat("r", MaxName), ""},
		{"", "rider_id: length 0 not in [1, 64]"},
		{strings.Repeat("r", MaxName+1), "rider_id: length 65 not in [1, 64]"},
		{"a b", set}, {"a,b", set}, {"a=b", set}, {`a\b`, set}, {`a"b`, set}, {"a\n", set}, {"a\x00", set},
		{"a/b", set}, {"a+b", set}, {"a[", set}, {"a`", set}, {"a{", set}, {"é", set}, {"\xff", set},
	} {
		t.Run(tt.name, func(t *testing.T) { checkField(t, CheckName("rider_id", tt.name), tt.want) })
	}
}

func TestCheckID(t *testing.T) {
	for _, tt := range []struct{ id, want string }{
		{"r", ""},
		{"ana@example.org", ""},
		{"a b", ""}, {"+49 170/123|x", ""}, {"{8e9a}", ""}, {"a,b=c", ""}, {`"a'b"`, ""}, {"<&>", ""}, {"a~", ""},
		{"Zoë", ""}, {"李小龍", ""}, {"🚕", ""}, {"\u200fעברית", ""}, {"...", ""}, {".a", ""}, {"a.", ""},
		{strings.Repeat("r", MaxID), ""},
		{strings.Repeat("é", MaxID/2), ""},
		{"", "rider_id: length 0 not in [1, 128]"},
		{strings.Repeat("r", MaxID+1), "rider_id: length 129 not in [1, 128]"},
		{strings.Repeat("é", MaxID/2+1), "rider_id: length 130 not in [1, 128]"},
		{".", `rider_id: "." is not allowed, as it means a folder in a path`},
		{"..", `rider_id: ".." is not allowed, as it means a folder in a path`},
		{" a", "rider_id: white space at an end"}, {"a ", "rider_id: white space at an end"}, {" ", "rider_id: white space at an end"},
		{"é\u00a0", "rider_id: white space at an end"},
		{`a\b`, "rider_id: a backslash"}, {`é\`, "rider_id: a backslash"},
		{"a\n", "rider_id: a control character, U+000A"}, {"a\x00b", "rider_id: a control character, U+0000"},
		{"a\x7f", "rider_id: a control character, U+007F"}, {"é\u0085x", "rider_id: a control character, U+0085"},
		{"\xff", "rider_id: not UTF-8"}, {"a\xc3", "rider_id: not UTF-8"},
		{"a\ufffd", "rider_id: a character that was not readable, U+FFFD"},
	} {
		t.Run(tt.id, func(t *testing.T) { checkField(t, CheckID("rider_id", tt.id), tt.want) })
	}
}

func TestCheckEvent(t *testing.T) {
	const set = "event: characters other than a-z 0-9 _"
	for _, tt := range []struct{ event, want string }{
		{"sos", ""},
		{"trip_start_2", ""},
		{strings.Repeat("e", MaxEvent), ""},
		{"", "event: length 0 not in [1, 32]"},
		{strings.Repeat("e", MaxEvent+1), "event: length 33 not in [1, 32]"},
		{"SOS", set}, {"trip-start", set}, {"trip start", set}, {"a.b", set}, {"a:b", set}, {"ö", set},
	} {
		t.Run(tt.event, func(t *testing.T) { checkField(t, CheckEvent(tt.event), tt.want) })
	}
}

func TestTimeLimits(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_123).Add(999 * time.Microsecond)
	lim := TimeLimits{MaxAge: time.Hour, MaxAhead: 2 * time.Minute}
	const behind, ahead = "ts: more than 1 h behind", "ts: more than 2 min ahead"
	for _, tt := range []struct {
		name string
		off  int64 // ms from now
		want string
	}{
		{"now", 0, ""},
		{"the oldest", -3_600_000, ""},
		{"a ms older", -3_600_001, behind},
		{"the furthest ahead", 120_000, ""},
		{"a ms further", 120_001, ahead},
	} {
		t.Run(tt.name, func(t *testing.T) { checkField(t, lim.Check(now.UnixMilli()+tt.off, now), tt.want) })
	}
	checkField(t, lim.Check(math.MinInt64, now), behind)
	checkField(t, lim.Check(math.MaxInt64, now), ahead)
	checkField(t, TimeLimits{}.Check(now.UnixMilli(), now), "")
}

// Seconds, µs and ns are told for what they are.
func TestTimeLimitsNameTheUnit(t *testing.T) {
	now := time.UnixMilli(1_795_814_330_426)
	lim := TimeLimits{MaxAge: 720 * time.Hour, MaxAhead: 2 * time.Minute}
	for at, want := range map[int64]string{
		1_795_814_330:             "ts: more than 30 d behind: 1795814330 looks like s since 1970; send ms",
		1_795_814_330_426_123:     "ts: more than 2 min ahead: 1795814330426123 looks like µs since 1970; send ms",
		1_795_814_330_426_123_456: "ts: more than 2 min ahead: 1795814330426123456 looks like ns since 1970; send ms",
		0:                         "ts: more than 30 d behind",
		253_402_300_799_000:       "ts: more than 2 min ahead", // the year 9999
		946_684_799_999:           "ts: more than 30 d behind", // the last ms of 1999
	} {
		checkField(t, lim.Check(at, now), want)
	}
}

func TestFix(t *testing.T) {
	f := Fix{At: 1_760_000_000_123, LatE7: 1, LonE7: 2, Known: HasSpeed | HasBattery}
	if got := f.Time().Format(time.RFC3339Nano); got != "2025-10-09T08:53:20.123Z" {
		t.Errorf("time = %s", got)
	}
	if !f.Has(HasSpeed) || !f.Has(HasSpeed|HasBattery) || f.Has(HasSpeed|HasHeading) || f.Has(HasAltitude) {
		t.Errorf("known %b is misread", f.Known)
	}
	same, lat, lon := f, f, f
	same.At, lat.LatE7, lon.LonE7 = 5, 9, 9
	if !f.SamePlace(&same) || f.SamePlace(&lat) || f.SamePlace(&lon) {
		t.Error("SamePlace looks at more or less than the position")
	}
}

// A store that keeps pings for less time than --max-age sets the limit, with a
// minute for the way there, and the error says so.
func TestTimeLimitsOfTheStore(t *testing.T) {
	now := time.Now()
	for kept, says := range map[time.Duration]string{7 * 24 * time.Hour: "the 7 d that", 36 * time.Hour: "the 36 h that", 90 * time.Minute: "the 90 min that"} {
		lim := TimeLimits{MaxAge: 720 * time.Hour, MaxAhead: time.Minute, Kept: kept}
		if err := lim.Check(now.Add(2*time.Minute-kept).UnixMilli(), now); err != nil {
			t.Errorf("kept for %v: %v", kept, err)
		}
		if err := lim.Check(now.Add(59*time.Second-kept).UnixMilli(), now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("kept for %v: %v, want it to say %q", kept, err, says)
		}
	}
	lim := TimeLimits{MaxAge: time.Hour, MaxAhead: time.Minute, Kept: 2 * time.Hour}
	if err := lim.Check(now.Add(-61*time.Minute).UnixMilli(), now); err == nil || !strings.Contains(err.Error(), "more than 1 h behind") {
		t.Errorf("kept for longer than --max-age: %v", err)
	}
}

func TestTimesOfWrongClocks(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := TimeLimits{MaxAge: 720 * time.Hour, MaxAhead: 2 * time.Minute, Kept: 24 * time.Hour}
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		name   string
		at     int64
		wrong  bool
		unroll time.Duration // behind now; < 0: by no rollover
	}{
		{"right", now.UnixMilli(), false, 0},
		{"older than the store keeps", now.Add(-25 * time.Hour).UnixMilli(), false, -1},
		{"a rollover back", now.Add(-1024*week - time.Hour).UnixMilli(), true, time.Hour},
		{"two rollovers back", now.Add(-2048*week - time.Hour).UnixMilli(), true, time.Hour},
		{"a rollover ahead", now.Add(1024*week - time.Hour).UnixMilli(), true, time.Hour},
		{"a rollover back, older than the store keeps", now.Add(-1024*week - 25*time.Hour).UnixMilli(), true, -1},
		{"an hour ahead", now.Add(time.Hour).UnixMilli(), true, -1},
		{"a year behind", now.Add(-365 * 24 * time.Hour).UnixMilli(), true, -1},
		{"as if it was 1970", 0, true, -1},
		{"seconds", now.Unix(), false, -1},
		{"nanoseconds", now.UnixNano(), false, -1},
		{"the end of time", math.MaxInt64, false, -1},
		{"the beginning of time", math.MinInt64, false, -1},
	} {
		if got := l.Wrong(tt.at, now); got != tt.wrong {
			t.Errorf("%s: wrong = %v", tt.name, got)
		}
		if !tt.wrong {
			continue
		}
		ms, ok := l.Unroll(tt.at, now)
		if ok != (tt.unroll >= 0) || ok && ms != now.Add(-tt.unroll).UnixMilli() {
			t.Errorf("%s: rolled to %v, %v", tt.name, time.UnixMilli(ms).UTC(), ok)
		}
	}
}
