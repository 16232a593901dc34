package track

import (
	"bytes"
	"strings"
	"testing"
	"time"

	fitencoder "github.com/muktihari/fit/encoder"
	"github.com/muktihari/fit/profile/mesgdef"
	"github.com/muktihari/fit/profile/typedef"
	"github.com/muktihari/fit/proto"
)

// fitSample is a FIT file with two records, of which the second lies nowhere.
func fitSample(t testing.TB) string {
	t.Helper()
	at := time.UnixMilli(1760000000000)
	file := &proto.FIT{Messages: []proto.Message{
		mesgdef.NewFileId(nil).SetType(typedef.FileActivity).ToMesg(nil),
		mesgdef.NewRecord(nil).SetTimestamp(at).SetPositionLat(491_024_000).SetPositionLong(-102_948_000).ToMesg(nil),
		mesgdef.NewRecord(nil).SetTimestamp(at.Add(time.Second)).SetPositionLat(0).SetPositionLong(0).ToMesg(nil),
	}}
	var b bytes.Buffer
	if err := fitencoder.New(&b).Encode(file); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadFIT(t *testing.T) {
	text := fitSample(t)
	want := newPing(t, "ride", 1760000000000, 491_024_000*180/float64(1<<31), -102_948_000*180/float64(1<<31), nil)
	for _, file := range []string{"ride.fit", "ride.FIT.gz", "ride"} {
		pings, _, errs := readAll(t, file, text)
		if len(pings) != 1 || pings[0] != want {
			t.Errorf("%s: read %+v, want %+v", file, pings, want)
		}
		if len(errs) != 1 || !strings.HasPrefix(errs[0], file+" record 2: lat: position 0,0") {
			t.Errorf("%s: %q", file, errs)
		}
	}
}
