package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/queue"
)

// limited is a server with rates, and how many pings its log holds.
func limited(t *testing.T, cfg Config) (s *Server, url string, logged func() uint64) {
	log := testLog(t, queue.Config{})
	cfg.Writer, _ = testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	s, url = testServer(t, cfg)
	return s, url, func() uint64 { return log.LastTotals()[pingline.TotalPings] }
}

// many is n pings of rider, one a second, the last one some seconds ago.
func many(rider string, n, ago int) string {
	pings := make([]string, n)
	for i := range pings {
		pings[i] = onePing(rider, ago+n-1-i)
	}
	return strings.Join(pings, ",")
}

func TestRiderOverItsRate(t *testing.T) {
	s, url, logged := limited(t, Config{RiderRate: 0.001, RiderBurst: 20})
	post := func(pings string) answer { return send(t, "POST", url+"/v1/pings?verdicts=1", []byte("["+pings+"]")) }
	if a := post(many("fast", 25, 100)); a.status != 200 {
		t.Fatalf("25 pings with 20 in the bucket: %d %s", a.status, a.body)
	}
	before, counted := logged(), s.Stats().Received
	a := post(many("fast", 3, 50))
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 429 || err != nil || wait < 600 {
		t.Errorf("alone: %d %s, Retry-After %q, want 429 and ten minutes", a.status, a.body, a.header.Get("Retry-After"))
	}
	if logged() != before || s.Stats().Received != counted {
		t.Errorf("something was kept of what was answered 429")
	}
	a = post(onePing("slow", 9) + "," + many("fast", 2, 40) + `,{"rider_id":7},` + onePing("slow", 5) + "," + onePing("fast", 3))
	var said struct {
		Accepted, Held, Shed, Rejected int
		Verdicts                       []string
		Errors                         []phone.Rejection
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(said.Verdicts), "[accepted shed shed rejected held shed]"; a.status != 200 || got != want {
		t.Errorf("mixed: %d %s, want %s", a.status, got, want)
	}
	if said.Accepted != 1 || said.Held != 1 || said.Shed != 3 || said.Rejected != 1 {
		t.Errorf("counts of %s", a.body)
	}
	want := []phone.Rejection{{Index: 1, Reason: "rate"}, {Index: 2, Reason: "rate"}, {Index: 3, Field: "rider_id", Reason: "not a string"}, {Index: 5, Reason: "rate"}}
	if fmt.Sprint(said.Errors) != fmt.Sprint(want) {
		t.Errorf("errors %+v, want %+v", said.Errors, want)
	}
	if st := s.Stats(); st.Received != counted+6 || st.Shed != 3 || st.Rejected != 1 {
		t.Errorf("counted %+v", st)
	}
	if a := post(many("fast", 2, 40) + `,{"rider_id":7}`); a.status != 429 {
		t.Errorf("its pings and an invalid one: %d %s, want 429", a.status, a.body)
	}
	if a := post(onePing("slow", 2)); a.status != 200 {
		t.Errorf("another rider: %d %s", a.status, a.body)
	}
}

// A request with pings of two riders in turn is taken whole when both may send, however often it
// was sent before: its first pings do not use up what its last need.
func TestRidersInTurn(t *testing.T) {
	_, url, _ := limited(t, Config{RiderRate: 0.001, RiderBurst: 20})
	var turns []string
	for i := range 25 {
		turns = append(turns, onePing("one", 100-i), onePing("two", 100-i))
	}
	a := send(t, "POST", url+"/v1/pings", []byte("["+strings.Join(turns, ",")+"]"))
	if a.status != 200 || !strings.Contains(a.body, `"shed":0`) {
		t.Errorf("25 pings each with 20 in the buckets: %d %s", a.status, a.body)
	}
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("one", 1))); a.status != 429 {
		t.Errorf("behind them: %d %s, want 429", a.status, a.body)
	}
}

// What was refused for another reason is not charged.
func TestRefusedIsNotCharged(t *testing.T) {
	log := testLog(t, queue.Config{MaxBytes: 4 << 20})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log})
	_, url := testServer(t, Config{Writer: w, RiderRate: 0.001, RiderBurst: 20, ClientRate: 1})
	n := 0
	for _, size := range []int{1000, 1} {
		for err := error(nil); err == nil; n++ {
			err = w.Submit(job(fmt.Sprint("r-", n), t0, size))
		}
	}
	body := []byte("[" + many("r", 20, 100) + "]")
	for range 10 {
		if a := send(t, "POST", url+"/v1/pings", body); a.status != 503 {
			t.Fatalf("with a full log: %d %s", a.status, a.body)
		}
	}
	for _, name := range []string{"reader", ingest.FilterCursor} {
		log.SetCursor(name, queue.Cursor{Next: log.Last() + 1, Totals: log.LastTotals()})
	}
	if err := errors.Join(log.KeepCursors(), log.TrimKept()); err != nil {
		t.Fatal(err)
	}
	if a := send(t, "POST", url+"/v1/pings", body); a.status != 200 {
		t.Errorf("after ten refusals: %d %s", a.status, a.body)
	}
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1))); a.status != 429 {
		t.Errorf("after its 20: %d %s", a.status, a.body)
	}
}

func TestClientOverItsRate(t *testing.T) {
	s, url, logged := limited(t, Config{ClientRate: 0.1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	post := func(from, pings string) answer {
		return send(t, "POST", url+"/v1/pings", []byte("["+pings+"]"), "X-Forwarded-For", from)
	}
	if a := post("198.51.100.1", many("a", 7, 50)); a.status != 200 { // of 6 in the bucket
		t.Fatalf("first: %d %s", a.status, a.body)
	}
	before := logged()
	a := post("198.51.100.1", onePing("b", 1))
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 429 || err != nil || wait < 1 || logged() != before {
		t.Errorf("over its rate: %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	if a := post("198.51.100.2", onePing("b", 1)); a.status != 200 {
		t.Errorf("another client: %d %s", a.status, a.body)
	}
	if n := s.Stats().Received; n != 8 {
		t.Errorf("%d pings received, want 8", n)
	}
}

// One rider sends as fast as it can; the others notice nothing, and the log holds
// what its rate allows.
func TestOneFastRiderDisturbsNobody(t *testing.T) {
	s, url, _ := limited(t, Config{RiderRate: 10, RiderBurst: 1000})
	stop := make(chan struct{})
	var fast sync.WaitGroup
	var sent, passed, refused int
	fast.Go(func() {
		for at := 20_000; at > 0; at -= 50 {
			select {
			case <-stop:
				return
			default:
			}
			sent += 50
			switch a := send(t, "POST", url+"/v1/pings", []byte("["+many("fast", 50, at)+"]")); a.status {
			case 200:
				passed += 50
			case 429:
				refused += 50
			default:
				t.Errorf("the fast one: %d %s", a.status, a.body)
			}
		}
	})
	began := time.Now()
	for i := range 200 {
		a := send(t, "POST", url+"/v1/pings", []byte("["+onePing(fmt.Sprint("r-", i), 2)+","+onePing(fmt.Sprint("r-", i), 1)+"]"))
		if a.status != 200 || !strings.Contains(a.body, `"accepted":1,"held":1,"redundant":0,"duplicate":0,"shed":0`) {
			t.Errorf("another rider: %d %s", a.status, a.body)
		}
	}
	until(t, "the fast one has sent more than its burst", func() bool { return s.Stats().Received >= 400+1000 })
	close(stop)
	fast.Wait()
	if most := 1000 + 50 + int(10*time.Since(began).Seconds()) + 10; passed > most || passed < 1000 {
		t.Errorf("%d of %d pings of the fast one passed, want 1,000 to %d", passed, sent, most)
	}
	if passed+refused != sent {
		t.Errorf("%d passed and %d refused of %d", passed, refused, sent)
	}
}

// The log says which client is over its rate, and which has been refused most.
func TestClientOverItsRateIsLogged(t *testing.T) {
	var text lines
	_, url := testServer(t, Config{ClientRate: 0.01, Logger: slog.New(slog.NewTextHandler(&text, nil))})
	for range 3 {
		send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1)))
	}
	got := text.String()
	if strings.Count(got, "over a rate") != 1 || !strings.Contains(got, `client=127.0.0.1 limit="this client is over the rate" refused_requests=1 most_refused="127.0.0.1 1 (100 %)"`) {
		t.Errorf("the log says %s", got)
	}
}
