package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/ingest/mqtt"
)

// server answers as POST /v1/pings does. A line with bad in it is rejected, with over it is shed.
type server struct {
	bodies []string
	status int
}

func (s *server) post(body []byte) (mqtt.Result, []byte) {
	s.bodies = append(s.bodies, string(body))
	if s.status != 0 {
		return mqtt.Result{Status: s.status, Wait: 7 * time.Second}, []byte(`{"error":"not now"}`)
	}
	var verdicts []string
	shed, rejected := 0, 0
	for line := range strings.Lines(string(body)) {
		switch {
		case strings.Contains(line, "broken"):
			return mqtt.Result{Status: http.StatusBadRequest}, []byte(`{"error":"syntax error at offset 3"}`)
		case strings.Contains(line, "bad"):
			verdicts, rejected = append(verdicts, "rejected"), rejected+1
		case strings.Contains(line, "over"):
			verdicts, shed = append(verdicts, "shed"), shed+1
		default:
			verdicts = append(verdicts, "accepted")
		}
	}
	if rejected == len(verdicts) {
		return mqtt.Result{Status: http.StatusBadRequest}, []byte(`{"error":"every ping was rejected","errors":[{"index":0,"field":"lat"}]}`)
	}
	text, _ := json.Marshal(map[string]any{"verdicts": verdicts, "shed": shed, "rejected": rejected, "errors": []any{}})
	return mqtt.Result{Status: 200}, text
}

func bodies(n int, with func(i int) string) (list [][]byte) {
	for i := range n {
		list = append(list, fmt.Appendf(nil, `{"rider_id":"r-%d","note":%q}`, i, with(i)))
	}
	return list
}

func TestManyBecomeOneRequest(t *testing.T) {
	s := new(server)
	got := Post(s.post).Take(bodies(1500, func(int) string { return "" }))
	if len(s.bodies) != 2 || strings.Count(s.bodies[0], "\n") != 999 {
		t.Errorf("%d requests", len(s.bodies))
	}
	if slices.ContainsFunc(got, func(r Receipt) bool { return r.Ending != Taken }) {
		t.Errorf("%v", got)
	}
	s = new(server)
	Post(s.post).Take(bodies(10, func(int) string { return strings.Repeat("x", 100<<10) }))
	if len(s.bodies) != 5 {
		t.Errorf("%d requests of large messages, want 5", len(s.bodies))
	}
}

// Each message gets its own receipt, whatever stands beside it.
func TestReceipts(t *testing.T) {
	s := new(server)
	list := bodies(100, func(i int) string { return map[int]string{17: "bad", 40: "over", 41: "over", 99: "bad"}[i] })
	list[50] = []byte(`{"rider_id":"broken",`)         // no object
	list[51] = []byte(`[{"a":1},` + "\n" + `{"b":2}]`) // an array, alone
	list[60] = []byte(`{"note":"broken"}`)             // as an object it is fine
	got := Post(s.post).Take(list)
	for i, r := range got {
		want := Taken
		switch i {
		case 17, 50, 60, 99:
			want = Refused
		case 40, 41:
			want = Later
		}
		if r.Ending != want || want == Refused && r.Why == "" || want == Later && r.Wait <= 0 {
			t.Errorf("message %d: %+v, want ending %d", i, r, want)
		}
	}
	if why := got[17].Why; why != `every ping was rejected {"index":0,"field":"lat"}` {
		t.Errorf("the reason is %q", why)
	}
}

// The pings beside one that is refused are sent once: a rider pays for each time.
func TestNeighboursOfARefusal(t *testing.T) {
	s := new(server)
	got := Post(s.post).Take(bodies(500, func(i int) string { return map[int]string{321: "bad"}[i] }))
	if got[321].Ending != Refused || got[320].Ending != Taken || got[322].Ending != Taken {
		t.Errorf("%+v", got[320:323])
	}
	for i, body := range s.bodies[1:] {
		if !strings.Contains(body, `"r-321"`) || strings.Contains(body, "\n") {
			t.Errorf("request %d has %d messages", i+1, 1+strings.Count(body, "\n"))
		}
	}
}

// An answer that cannot be read takes no message.
func TestAnswerCutShort(t *testing.T) {
	post := Post(func([]byte) (mqtt.Result, []byte) {
		return mqtt.Result{Status: http.StatusOK}, []byte(`{"accepted":0,"shed":1,"verdi`)
	})
	for i, r := range post.Take(bodies(2, func(int) string { return "" })) {
		if r.Ending != Later || r.Wait <= 0 {
			t.Errorf("message %d: %+v", i, r)
		}
	}
}

func TestLater(t *testing.T) {
	for _, status := range []int{401, 403, 404, 408, 429, 500, 503} {
		s := &server{status: status}
		for i, r := range Post(s.post).Take(bodies(3, func(int) string { return "" })) {
			if r.Ending != Later || r.Wait != 7*time.Second {
				t.Errorf("status %d: message %d: %+v", status, i, r)
			}
		}
		if len(s.bodies) != 1 {
			t.Errorf("status %d: %d requests", status, len(s.bodies))
		}
	}
}

// A ping in a private zone is no fault of its message, and a message with one that is refused for
// another ping is marked: its text is not kept.
func TestPrivateZones(t *testing.T) {
	const zone, lat = `{"index":0,"field":"private_zone"}`, `{"index":1,"field":"lat"}`
	for text, want := range map[string]Receipt{
		`{"verdicts":["rejected"],"rejected":1,"errors":[` + zone + `]}`:                        {Ending: Taken},
		`{"verdicts":["rejected","rejected"],"rejected":2,"errors":[` + zone + `,` + lat + `]}`: {Ending: Refused, Private: true},
		`{"verdicts":["accepted","rejected"],"rejected":1,"errors":[` + lat + `]}`:              {Ending: Refused},
		`{"verdicts":["shed","rejected"],"shed":1,"rejected":1,"errors":[` + zone + `]}`:        {Ending: Later},
		// Where not all are listed, one for a zone and one for another reason are, if there are any.
		`{"verdicts":["rejected","rejected","rejected"],"rejected":3,"errors":[` + zone + `]}`: {Ending: Taken},
		`{"verdicts":["rejected","rejected","rejected"],"rejected":3,"errors":[` + lat + `]}`:  {Ending: Refused},
	} {
		got := Post(func([]byte) (mqtt.Result, []byte) { return mqtt.Result{Status: http.StatusOK}, []byte(text) }).Take([][]byte{[]byte("[]")})[0]
		if got.Ending != want.Ending || got.Private != want.Private {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestRejects(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	r := KeepRejects(dir, 1000)
	if _, err := r.Append(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory is made for nothing")
	}
	one := Reject{At: 1, Topic: "pings", Partition: 2, Offset: 3, Reason: "<why>", Key: []byte("k"), Body: []byte("\xff{")}
	if _, err := r.Append([]Reject{one, one}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, FileName)
	text, err := os.ReadFile(name)
	if err != nil || string(text) != strings.Repeat(`{"at":1,"topic":"pings","partition":2,"offset":3,"reason":"<why>","key":"aw==","body":"/3s="}`+"\n", 2) {
		t.Errorf("%s, %v", text, err)
	}
	if err := os.WriteFile(name, append(text, `{"at":1`...), 0o600); err != nil { // torn by a crash
		t.Fatal(err)
	}
	if _, err := r.Append([]Reject{one}); err != nil {
		t.Fatal(err)
	}
	text, _ = os.ReadFile(name)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var last Reject
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || len(lines) != 4 || last.Offset != 3 {
		t.Errorf("%s: %v", text, err)
	}
	one.Body = make([]byte, 1000)
	if _, err := r.Append([]Reject{one}); !errors.Is(err, ErrFull) {
		t.Errorf("the error is %v", err)
	}
	if again, _ := os.ReadFile(name); !bytes.Equal(again, text) {
		t.Error("a file that is full has grown")
	}
}

// Refused messages that are more than fit are kept as far as there is room, so that moving the file
// away helps; one that never fits is no reason to move it.
func TestRejectsMoreThanFit(t *testing.T) {
	dir := t.TempDir()
	r := KeepRejects(dir, 1000)
	list := make([]Reject, 30)
	for rest := list; len(rest) > 0; {
		kept, err := r.Append(rest)
		if kept == 0 || kept < len(rest) && !errors.Is(err, ErrFull) {
			t.Fatalf("%d of %d are kept: %v", kept, len(rest), err)
		}
		rest = rest[kept:]
		if err := os.Remove(filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := r.Append([]Reject{{Body: make([]byte, 1000)}}); kept != 0 || err == nil || errors.Is(err, ErrFull) {
		t.Errorf("%d are kept: %v", kept, err)
	}
}

// No message changes what is made of the messages beside it.
func FuzzTake(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`{"rider_id":`))
	f.Add([]byte(`{"a":"`), []byte(`"}`))
	f.Add([]byte("{}\n{}"), []byte(`[1]`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		seen := map[string]bool{}
		post := Post(func(body []byte) (mqtt.Result, []byte) {
			for line := range bytes.SplitSeq(body, []byte("\n")) {
				seen[string(line)] = true
			}
			seen[string(body)] = true
			return mqtt.Result{Status: 400}, nil
		})
		for i, r := range post.Take([][]byte{a, b, []byte(`{"own":1}`)}) {
			if r.Ending != Refused {
				t.Errorf("message %d: %+v", i, r)
			}
		}
		if !seen[string(a)] || !seen[string(b)] || !seen[`{"own":1}`] {
			t.Errorf("of %q and %q requests were %v", a, b, seen)
		}
	})
}
