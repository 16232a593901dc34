package server

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/privacy"
	"pingline/queue"
)

// doorOf returns the door of settings.
func doorOf(t testing.TB, s privacy.DoorSettings) *privacy.Door {
	t.Helper()
	d, err := s.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pseudonymous returns a door that gives riders pseudonyms by a new key.
func pseudonymous(t testing.TB) *privacy.Door {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pseudonyms")
	if err := privacy.MakeKey(path); err != nil {
		t.Fatal(err)
	}
	return doorOf(t, privacy.DoorSettings{Keys: path})
}

// pingAt is a ping somewhere, with an event or without.
func pingAt(rider string, ago int, lat, lon, event string) string {
	return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%s,"lon":%s,"event":%q,"speed":3,"heading":90,"battery":0.5}`,
		rider, time.Now().Add(-time.Duration(ago)*time.Second).UnixMilli(), lat, lon, event)
}

// Pings inside a zone, of all riders or of a key, are not in the log; their phones are told,
// in an answer that no phone takes for a fault, and the process log is not. An SOS is there
// as it was sent.
func TestPrivateZones(t *testing.T) {
	path, secrets := keysOf(t, auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}, Zones: []string{"52.5,13.4,500"}}, keyFor("bo", "write", "bo"))
	said := new(lines)
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{}})
	s, url := testServer(t, Config{
		Gate: gateOf(t, path, auth.Config{}), Writer: w, Door: doorOf(t, privacy.DoorSettings{Zones: []string{"41.15,-8.61,500"}}),
		Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	post := func(rider string, pings ...string) answer {
		return send(t, "POST", url+"/v1/pings?verdicts=1", []byte(strings.Join(pings, "\n")), "Authorization", "Bearer "+secrets[rider])
	}
	a := post("ana", pingAt("ana", 50, "41.1512345", "-8.6112345", ""), pingAt("ana", 40, "52.5012345", "13.4012345", ""))
	if want := `"verdicts":["rejected","rejected"],"errors":[{"index":0,"field":"private_zone","error":"inside a private zone: it is not stored"},{"index":1,"field":"private_zone"`; a.status != 200 || !strings.Contains(a.body, want) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = post("ana", pingAt("ana", 30, "41.1512345", "-8.6112345", ""), `{"rider_id":"ana"}`); a.status != 200 || !strings.Contains(a.body, `"rejected":2`) {
		t.Errorf("with one that is invalid: %d %s", a.status, a.body)
	}
	if a = post("bo", pingAt("bo", 20, "52.5012345", "13.4012345", "")); !strings.Contains(a.body, `"verdicts":["held"]`) && !strings.Contains(a.body, `"verdicts":["accepted"]`) {
		t.Errorf("a zone of another's key: %d %s", a.status, a.body)
	}
	if a = post("ana", pingAt("ana", 10, "41.1512345", "-8.6112345", "sos")); !strings.Contains(a.body, `"verdicts":["accepted"]`) {
		t.Errorf("an SOS: %d %s", a.status, a.body)
	}
	var stored []string
	for _, e := range entries(t, log) {
		stored = append(stored, fmt.Sprint(e.Rider, " ", e.LatE7, " ", e.LonE7, " ", e.Event))
	}
	if want := []string{"bo 525012345 134012345 ", "ana 411512345 -86112345 sos"}; !slices.Equal(stored, want) {
		t.Errorf("the log has %q, want %q", stored, want)
	}
	if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "refused=1 of=2 index=1 rider=ana field=ts") || strings.Contains(text, "private") {
		t.Errorf("the process log: %s", text)
	}
	if r := s.Stats().Reasons; r["private_zone"] != 3 {
		t.Errorf("rejected by reason: %v", r)
	}
}

// However many pings are rejected, the answer lists one in a private zone and one that is invalid,
// if there are any: the text of a message with the former is not to be kept.
func TestPrivateZonesAmongMany(t *testing.T) {
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{})})
	_, url := testServer(t, Config{Writer: w, Door: doorOf(t, privacy.DoorSettings{Zones: []string{"41.15,-8.61,5000"}})})
	inside, invalid := pingAt("ana", 50, "41.1512345", "-8.6112345", ""), `{"rider_id":"ana"}`
	for _, list := range [][]string{append(slices.Repeat([]string{invalid}, 150), inside), append(slices.Repeat([]string{inside}, 150), invalid)} {
		a := send(t, "POST", url+"/v1/pings", []byte(strings.Join(append(list, pingAt("bo", 20, "52.5", "13.4", "")), "\n")))
		if !strings.Contains(a.body, `"field":"private_zone"`) || !strings.Contains(a.body, `"error":"missing"`) || strings.Count(a.body, `"index"`) != 100 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// Moved to the centre a ping has the cell of the centre, and nothing that tells of its way.
func TestPrivateZonesAtTheirCentre(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{}})
	_, url := testServer(t, Config{Writer: w, Door: doorOf(t, privacy.DoorSettings{Zones: []string{"41.15,-8.61,90000"}, Pings: "centre"})})
	a := send(t, "POST", url+"/v1/pings", []byte(pingAt("ana", 50, "41.7512345", "-8.9112345", "")+"\n"+pingAt("ana", 40, "41.1", "-8.6", "sos")))
	list := entries(t, log)
	if a.status != 200 || len(list) == 0 {
		t.Fatalf("%d %s: %+v", a.status, a.body, list)
	}
	e := list[0]
	want := pingline.Fix{LatE7: 411500000, LonE7: -86100000}
	if e.LatE7 != want.LatE7 || e.LonE7 != want.LonE7 || e.Cell != testCells.Of(&want) || e.Known != pingline.HasAccuracy|pingline.HasBattery || e.Accuracy != 90000 || e.Speed != 0 || e.Heading != 0 {
		t.Errorf("%+v", e)
	}
}

// By pseudonyms riders read as before: by their own name, which the answer has, and by their
// pseudonym. Who reads all sees pseudonyms, and nobody can send as one.
func TestPseudonyms(t *testing.T) {
	door := pseudonymous(t)
	pseudonym := door.Names().Of
	path, secrets := keysOf(t, keyFor("all", "write,read", "*"), keyFor("ana", "write,read", "ana"), keyFor("an", "read", "an*", "bo"), keyFor("p", "read", "p-*", pseudonym("ana")), keyFor("bo", "read", "bo"))
	var mu sync.Mutex
	var trail []string
	said := new(lines)
	gate := gateOf(t, path, auth.Config{Names: door.Names(), Logger: slog.New(slog.NewTextHandler(said, nil)),
		Read: func(key, rider string, _ netip.Addr) {
			mu.Lock()
			defer mu.Unlock()
			trail = append(trail, key+" "+rider)
		},
		Failed: func(e *auth.Denied, _ netip.Addr) {
			mu.Lock()
			defer mu.Unlock()
			trail = append(trail, e.Name+" failed")
		},
	})
	_, url, log := behindDoor(t, gate, door, nil)
	clients := 0
	ask := func(key, method, path, body string) answer {
		clients++
		return send(t, method, url+path, []byte(body), append(clientOf(clients), "Authorization", "Bearer "+secrets[key])...)
	}
	if a := ask("all", "POST", "/v1/pings", onePing("ana", 60)+"\n"+onePing("bo", 50)+"\n"+onePing(pseudonym("ana"), 40)); a.status != 200 {
		t.Fatal(a.status, a.body)
	}
	if a := ask("ana", "POST", "/v1/pings", onePing("ana", 30)+"\n"+onePing(pseudonym("ana"), 20)); !strings.Contains(a.body, `"errors":[{"index":1,"field":"rider_id"`) {
		t.Errorf("sent as one's own pseudonym: %d %s", a.status, a.body)
	}
	for _, e := range entries(t, log) {
		if !slices.Contains([]string{pseudonym("ana"), pseudonym("bo"), pseudonym(pseudonym("ana"))}, e.Rider) {
			t.Errorf("the log has rider %q", e.Rider)
		}
	}
	for _, tt := range []struct {
		key, rider string
		want       int
	}{
		{"all", "ana", 200}, {"all", pseudonym("ana"), 200}, {"all", "nobody", 404}, {"all", pseudonym("nobody"), 404},
		{"ana", "ana", 200}, {"ana", pseudonym("ana"), 200}, {"ana", "bo", 403}, {"ana", pseudonym("bo"), 403}, {"ana", pseudonym("nobody"), 403},
		{"an", "ana", 200}, {"an", pseudonym("ana"), 403}, {"an", "bo", 200}, {"an", pseudonym("bo"), 200},
		{"p", pseudonym("bo"), 403}, {"p", pseudonym("ana"), 403}, {"p", "p-1", 404},
		{"bo", pseudonym("ana"), 403}, {"bo", pseudonym("bo"), 200},
	} {
		for _, route := range []string{"", "/track"} {
			want := tt.want
			if want == 404 && route != "" {
				want = 200 // an empty track
			}
			a := ask(tt.key, "GET", "/v1/riders/"+tt.rider+route, "")
			if a.status != want {
				t.Errorf("%s asks for %s%s: %d %s, want %d", tt.key, tt.rider, route, a.status, a.body, want)
			}
			if a.status == 200 && !strings.HasPrefix(a.body, fmt.Sprintf(`{"rider_id":%q,`, tt.rider)) {
				t.Errorf("%s asks for %s%s: %s", tt.key, tt.rider, route, a.body)
			}
			if has := strings.Contains(a.body, `"lat":41.1`); has != (tt.want == 200) {
				t.Errorf("%s asks for %s%s: a position is shown: %v", tt.key, tt.rider, route, has)
			}
		}
	}
	var box struct {
		Riders []struct {
			Rider string `json:"rider_id"`
		}
	}
	a := ask("all", "GET", "/v1/riders?bbox=-9,41,-8,42", "")
	if err := json.Unmarshal([]byte(a.body), &box); err != nil || len(box.Riders) != 3 {
		t.Errorf("in the box: %s: %v", a.body, err)
	}
	for _, r := range box.Riders {
		if !privacy.IsPseudonym(r.Rider) {
			t.Errorf("in the box is %q", r.Rider)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, line := range append(trail, said.String()) {
		if regexp.MustCompile(`\b(ana|bo)\b`).MatchString(line) {
			t.Errorf("a name is told: %s", line)
		}
	}
	if !slices.Contains(trail, pseudonym("ana")+" "+pseudonym("ana")) || !slices.Contains(trail, "all "+pseudonym("ana")) || !slices.Contains(trail, pseudonym("bo")+" failed") {
		t.Errorf("told: %q", trail)
	}
}

// The process log and the notes on who sends most have pseudonyms.
func TestPseudonymsInTheLog(t *testing.T) {
	door := pseudonymous(t)
	said := new(lines)
	s, url := testServer(t, Config{Door: door, Logger: slog.New(slog.NewTextHandler(said, nil))})
	send(t, "POST", url+"/v1/pings", []byte(`{"rider_id":"ana","ts":1,"lat":1,"lon":1}`))
	if text := said.String(); strings.Contains(text, "ana") || !strings.Contains(text, "rider="+door.Names().Of("ana")) {
		t.Errorf("the log has %q", text)
	}
	x := new(request)
	x.id = auth.Anyone
	x.pings.List = []pingline.Ping{{Rider: "ana"}}
	s.cfg.Door.Screen(&x.pings, nil)
	s.top.Pings(x.from.Addr, x.pings.List, time.Now())
	if notes := strings.Join(s.top.Notes(time.Now()), " "); strings.Contains(notes, "ana") || !strings.Contains(notes, door.Names().Of("ana")) {
		t.Errorf("notes: %s", notes)
	}
}

// Pings get to the writer from a single place, behind the door: a protocol that is added
// cannot forget it.
func TestPingsHaveOneDoor(t *testing.T) {
	to := regexp.MustCompile(`\bJob\{[^}]*\bPings:|\bjob\.Pings\s*=`)
	screens := regexp.MustCompile(`\bDoor\.Screen\(`)
	var found, screened []string
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for range to.FindAll(text, -1) {
			found = append(found, filepath.ToSlash(path))
		}
		for range screens.FindAll(text, -1) {
			screened = append(screened, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil || !slices.Equal(found, []string{"../../ingest/server/request.go"}) || !slices.Equal(screened, []string{"../../ingest/server/pings.go"}) {
		t.Errorf("pings are given to the writer in %q, and screened in %q: %v", found, screened, err)
	}
}
