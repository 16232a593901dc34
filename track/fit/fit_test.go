package fit

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/muktihari/fit/encoder"
	"github.com/muktihari/fit/profile/mesgdef"
	"github.com/muktihari/fit/profile/typedef"
	"github.com/muktihari/fit/proto"

	"pingline"
)

var began = time.Date(2025, 10, 9, 8, 53, 20, 0, time.UTC)

// semicircles returns degrees as FIT has them.
func semicircles(degrees float64) int32 { return int32(math.Round(degrees / 180 * (1 << 31))) }

// ride returns a FIT file with a record a second, of which every fifth has no position.
func ride(t testing.TB, records int) []byte {
	t.Helper()
	file := &proto.FIT{Messages: []proto.Message{
		mesgdef.NewFileId(nil).SetType(typedef.FileActivity).SetTimeCreated(began).ToMesg(nil),
	}}
	for i := range records {
		r := mesgdef.NewRecord(nil).SetTimestamp(began.Add(time.Duration(i) * time.Second)).SetHeartRate(120)
		if i%5 != 4 {
			r.SetPositionLat(semicircles(41.157812 + float64(i)*1e-5)).SetPositionLong(semicircles(-8.629105))
		}
		if i%2 == 0 {
			r.SetEnhancedAltitudeScaled(80.6).SetEnhancedSpeedScaled(7.5).SetGpsAccuracy(4)
		} else {
			r.SetAltitudeScaled(79.8).SetSpeedScaled(6.25)
		}
		file.Messages = append(file.Messages, r.ToMesg(nil))
	}
	var b bytes.Buffer
	if err := encoder.New(&b).Encode(file); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(data []byte) (fixes []pingline.Fix, numbers []int, err error) {
	r := NewReader(bytes.NewReader(data))
	for {
		f, n, err := r.Next()
		switch {
		case err == io.EOF:
			return fixes, numbers, r.Close()
		case errors.Is(err, pingline.ErrInvalid):
			continue
		case err != nil:
			if _, _, again := r.Next(); again != err {
				return fixes, numbers, errors.New("another error the second time: " + again.Error())
			}
			return fixes, numbers, errors.Join(err, r.Close())
		}
		fixes, numbers = append(fixes, f), append(numbers, n)
	}
}

func TestRead(t *testing.T) {
	fixes, numbers, err := readAll(ride(t, 10))
	if err != nil || len(fixes) != 8 || numbers[3] != 4 || numbers[4] != 6 {
		t.Fatalf("%d fixes of the records %v, %v; want 8", len(fixes), numbers, err)
	}
	for i, want := range map[int]struct{ altitude, speed, accuracy float64 }{0: {80.6, 7.5, 4}, 1: {79.8, 6.25, -1}} {
		var f pingline.Fix
		f.At = began.UnixMilli() + int64(i)*1000
		if err := f.SetPosition(41.157812+float64(i)*1e-5, -8.629105); err != nil {
			t.Fatal(err)
		}
		f.SetOptional(pingline.HasAltitude, want.altitude)
		f.SetOptional(pingline.HasSpeed, want.speed)
		f.SetOptional(pingline.HasAccuracy, want.accuracy)
		got := fixes[i]
		// A semicircle is 0.8 of the unit of a position.
		if d := got.LatE7 - f.LatE7; d < -1 || d > 1 {
			t.Errorf("fix %d is at latitude %d, want %d", i, got.LatE7, f.LatE7)
		}
		got.LatE7, got.LonE7 = f.LatE7, f.LonE7
		if got != f {
			t.Errorf("fix %d is %+v, want %+v", i, got, f)
		}
	}
}

func TestSeveralFilesInOne(t *testing.T) {
	one := ride(t, 10)
	if fixes, _, err := readAll(append(bytes.Clone(one), one...)); len(fixes) != 16 || err != nil {
		t.Errorf("%d fixes, %v; want 16", len(fixes), err)
	}
}

// A watch whose battery is empty leaves half a file: what is there is read.
func TestFilesThatBreakOff(t *testing.T) {
	whole := ride(t, 1000)
	fixes, _, err := readAll(whole[:len(whole)/2])
	if len(fixes) < 350 || err == nil || !strings.Contains(err.Error(), "read FIT: ") {
		t.Errorf("half a file: %d fixes, %v", len(fixes), err)
	}
	whole[len(whole)-1] ^= 1
	if fixes, _, err = readAll(whole); len(fixes) != 800 || err == nil {
		t.Errorf("a wrong checksum: %d fixes, %v", len(fixes), err)
	}
	if fixes, _, err = readAll([]byte("no FIT at all")); len(fixes) != 0 || err == nil {
		t.Errorf("another file: %d fixes, %v", len(fixes), err)
	}
}

func TestCloseBeforeTheEnd(t *testing.T) {
	r := NewReader(bytes.NewReader(ride(t, 100)))
	if _, _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("a closed reader returned %v", err)
	}
}

func FuzzReader(f *testing.F) {
	one := ride(f, 6)
	f.Add(one)
	f.Add(append(bytes.Clone(one), one...))
	f.Add(one[:len(one)-20])
	f.Fuzz(func(t *testing.T, data []byte) {
		fixes, _, _ := readAll(data)
		for i := range fixes {
			if p := (pingline.Ping{Rider: "r", Fix: fixes[i]}); p.Validate() != nil {
				t.Fatalf("%+v: %v", p, p.Validate())
			}
		}
	})
}
