package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sim"
	"pingline/track"
	"pingline/track/tracktest"
)

var start = time.UnixMilli(1_790_000_000_000)

// sent is a ping with the moment at which it leaves.
type sent struct {
	pingline.Ping
	at int64 // ms since 1970
}

// all returns what a replay sends over so many connections, in order of time.
func all(p *Replay, conns int) (list []sent) {
	for conn := range conns {
		s := p.Schedule(conn, conns, start.UnixNano())
		for d, ok := s.Next(); ok; d, ok = s.Next() {
			var ping pingline.Ping
			ping.Rider, ping.Device = p.Name(d.Phone)
			if p.Update(&ping, d.Phone, 0, d.At) {
				list = append(list, sent{ping, d.Send / 1e6})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b sent) int { return int(a.at - b.at) })
	return list
}

// record writes pings to a file and reads them.
func record(t testing.TB, lines ...string) *Recorded {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.ndjson")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Read([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func line(rider string, at int64) string {
	return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%g,"lon":-8.6,"speed":7.5,"trip_id":"t"}`, rider, at, 41+float64(at%100_000)*1e-7)
}

// Pings keep their distance in time; none is from the future, and the last is not old.
func TestTimesAreShiftedToNow(t *testing.T) {
	r := record(t, line("a", 1000), line("a", 2000), line("a", 12_000), line("b", 5e12), line("b", 5e12+1000))
	for _, speed := range []float64{1, 10, 1000} {
		p, err := New(r, Config{Start: start, Speed: speed})
		if err != nil {
			t.Fatal(err)
		}
		list := all(p, 3)
		if len(list) != 5 || p.Pings() != 5 || p.Riders() != 2 || p.Lasts() != time.Duration(11e9/speed) {
			t.Fatalf("%d of %d pings by %d riders in %v", len(list), p.Pings(), p.Riders(), p.Lasts())
		}
		var of []sent
		for _, s := range list {
			if s.Rider == "a" {
				of = append(of, s)
			}
			if age := s.at - s.Ping.At; age < 0 || age > int64(11_000*(1-1/speed))+1 {
				t.Errorf("at speed %g a ping is %d ms old when it is sent", speed, age)
			}
		}
		for i, ms := range []int64{0, 1000, 11_000} {
			if of[i].Ping.At-of[0].Ping.At != ms || of[i].at-of[0].at != int64(float64(ms)/speed) {
				t.Errorf("at speed %g ping %d is sent after %d ms with a ts of %d ms, want ts %d", speed, i, of[i].at-of[0].at, of[i].Ping.At-of[0].Ping.At, ms)
			}
		}
		if last := of[2]; last.at != last.Ping.At || last.Speed != 7.5 || last.Trip != "t" {
			t.Errorf("at speed %g the last ping is %+v", speed, last)
		}
	}
}

// A track is sent in the order of its file, and a pause of hours takes ten minutes.
func TestOrderAndPauses(t *testing.T) {
	hours := int64(50 * 3600 * 1000)
	p, err := New(record(t, line("a", 1000), line("a", 3000), line("a", 2000), line("a", 2000), line("a", 1000+hours)), Config{Start: start})
	if err != nil {
		t.Fatal(err)
	}
	list := all(p, 1)
	var got []int64
	for _, s := range list {
		got = append(got, s.Ping.At-list[0].Ping.At, s.at-list[0].at)
	}
	if want := []int64{0, 0, 2000, 2000, 1000, 2001, 1000, 2002, 602_000, 602_000}; !slices.Equal(got, want) {
		t.Errorf("ts and moments are %d, want %d", got, want)
	}
}

// Two replays of one seed and start send the same bytes; another seed, other ones. The
// hash is that of what this version sends: a change of it is a change for users.
func TestSameSeedSameBytes(t *testing.T) {
	r, err := Read([]string{tracktest.InTree(t, tracktest.EveryFew).Path})
	if err != nil {
		t.Fatal(err)
	}
	hash := func(seed uint64, conns int) string {
		p, err := New(r, Config{Seed: seed, Start: start, Speed: 50, Clones: 5, Jitter: true})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, s := range all(p, conns) {
			lines = append(lines, fmt.Sprintf("%d %s", s.at, track.AppendPing(nil, &s.Ping)))
		}
		slices.Sort(lines)
		sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
		return hex.EncodeToString(sum[:8])
	}
	const want = "1cf862cf01d63053"
	if got := hash(1, 4); got != want || hash(1, 4) != got || hash(1, 7) != got {
		t.Errorf("seed 1: %s, want %s", got, want)
	}
	if hash(2, 4) == want {
		t.Error("seed 2 sends what seed 1 does")
	}
}

// Each clone is a rider of its own, of the same track near by.
func TestClones(t *testing.T) {
	r, err := Read([]string{tracktest.InTree(t, tracktest.EveryFew).Path})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(r, Config{Start: start, Clones: 20, Jitter: true})
	if err != nil {
		t.Fatal(err)
	}
	byRider := make(map[string][]sent)
	for _, s := range all(p, 8) {
		if err := s.Validate(); err != nil {
			t.Fatalf("%+v: %v", s.Ping, err)
		}
		byRider[s.Rider] = append(byRider[s.Rider], s)
	}
	if len(byRider) != 20*len(r.names) {
		t.Fatalf("%d riders, want %d", len(byRider), 20*len(r.names))
	}
	begins := make(map[int64]bool)
	for rider, list := range byRider {
		name, _, _ := strings.Cut(rider, ":")
		original := byRider[name]
		if len(list) != len(original) {
			t.Fatalf("%s sends %d pings, %s %d", rider, len(list), name, len(original))
		}
		begins[list[0].at] = true
		for i := range list {
			if list[i].Ping.At-list[0].Ping.At != original[i].Ping.At-original[0].Ping.At {
				t.Fatalf("%s has other times than %s", rider, name)
			}
			north := float64(list[i].LatE7-original[i].LatE7) / pingline.E7 * metresADeg
			east := float64(list[i].LonE7-original[i].LonE7) / pingline.E7 * metresADeg * math.Cos(list[i].Lat()*math.Pi/180)
			if far := math.Hypot(north, east); far > away*1.01 {
				t.Fatalf("%s rides %.0f m away from %s", rider, far, name)
			}
		}
	}
	if len(begins) < len(byRider)*9/10 {
		t.Errorf("%d riders begin at %d moments", len(byRider), len(begins))
	}
	same, err := New(r, Config{Start: start, Clones: 3})
	if err != nil {
		t.Fatal(err)
	}
	places := make(map[string][]int32)
	for _, s := range all(same, 2) {
		name, _, _ := strings.Cut(s.Rider, ":")
		places[name] = append(places[name], s.LatE7)
	}
	for name, list := range places {
		for i := 0; i < len(list); i += 3 {
			if list[i] != list[i+1] || list[i] != list[i+2] {
				t.Fatalf("without jitter the clones of %s are elsewhere", name)
			}
		}
	}
}

// The clones of a replay that was recorded have names of their own.
func TestClonesOfClones(t *testing.T) {
	p, err := New(record(t, line("a", 1), line("a:1", 1), line("a::7", 1)), Config{Clones: 2})
	if err != nil {
		t.Fatal(err)
	}
	if name, _ := p.Name(3); name != "a:::1" {
		t.Errorf("the clone of a is %q", name)
	}
}

func TestLongNamesOfClones(t *testing.T) {
	r := record(t, line(strings.Repeat("ü", 64), 1000))
	p, err := New(r, Config{Clones: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if name, _ := p.Name(i); pingline.CheckID("rider_id", name) != nil || i > 0 && !strings.HasSuffix(name, fmt.Sprintf(":%d", i)) {
			t.Errorf("phone %d is %q", i, name)
		}
	}
}

// Riders of one name in two files are two: the files were recorded on their own.
func TestFilesAreRecordingsOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i, text := range []string{line("a", 1000) + "\n" + line("b", 2000), line("a", 1000) + "\n" + `{"rider_id":"a","device_id":"watch","ts":1000,"lat":1,"lon":2}`, line("a", 1000)} {
		files = append(files, filepath.Join(dir, fmt.Sprintf("%d.ndjson", i)))
		if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(r, Config{Clones: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range p.Riders() {
		rider, device := p.Name(i)
		got = append(got, strings.TrimSpace(rider+" "+device))
	}
	if want := []string{"a", "b", "a@2", "a@2 watch", "a@3", "a:1", "b:1", "a@2:1", "a@2:1 watch", "a@3:1"}; !slices.Equal(got, want) {
		t.Errorf("phones %q, want %q", got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r, err := Read([]string{write("a.ndjson", "x\n"+line("a", 1)+"\n{}")})
	if err != nil || r.Refused != 2 || r.Because == nil || r.Pings() != 1 {
		t.Errorf("%d pings, %d refused, %v, %v", r.Pings(), r.Refused, r.Because, err)
	}
	for path, want := range map[string]string{
		write("b.ndjson", "x"): "no ping in", write("c.ndjson", ""): "no ping in", filepath.Join(dir, "none.gpx"): "no such file", write("d.json", "[{"): "read JSON",
	} {
		if _, err := Read([]string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for _, cfg := range []Config{{Speed: -1}, {Speed: math.NaN()}, {Speed: 1e6}, {Clones: -1}, {Clones: MaxPhones + 1}} {
		if _, err := New(r, cfg); err == nil {
			t.Errorf("a replay with %+v", cfg)
		}
	}
}

var _ sim.Phones = (*Replay)(nil)

func BenchmarkNext(b *testing.B) {
	r, err := Read([]string{tracktest.InTree(b, tracktest.EveryFew).Path})
	if err != nil {
		b.Fatal(err)
	}
	p, err := New(r, Config{Start: start, Clones: 2000, Jitter: true})
	if err != nil {
		b.Fatal(err)
	}
	s := p.Schedule(0, 32, 0)
	b.ReportAllocs()
	var ping pingline.Ping
	for b.Loop() {
		d, ok := s.Next()
		if !ok {
			s = p.Schedule(0, 32, 0)
			continue
		}
		p.Update(&ping, d.Phone, 0, d.At)
	}
}
