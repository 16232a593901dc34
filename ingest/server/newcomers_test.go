package server

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/server/share"
)

// verdictsOf is what a mixed answer says.
type verdictsOf struct {
	Accepted, Held, Shed int
	Verdicts             []string
	Errors               []phone.Rejection
}

func (w *wire) pings(body string, headers ...string) (answer, verdictsOf) {
	w.t.Helper()
	w.say("POST /v1/pings?verdicts=1 HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", strings.Join(headers, ""), len(body), body)
	a := w.hear()
	var said verdictsOf
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		w.t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return a, said
}

// A client brings as many new riders as it may. Pings of more are shed; those of
// riders who are known, and other clients, notice nothing.
func TestNewRidersOfOneClient(t *testing.T) {
	s, url, logged := limited(t, Config{NewRidersRate: 0.01, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.8/32")}})
	const most = 1 // newRidersBurst * 0.01, and what is left over
	fast := dialFrom(t, s, "127.0.0.9")
	if a, said := fast.pings(onePing("first", 9) + "\n" + onePing("second", 9) + "\n" + onePing("first", 5)); a.status != 200 ||
		fmt.Sprint(said.Verdicts) != "[accepted shed held]" || !slices.Equal(said.Errors, []phone.Rejection{{Index: 1, Reason: "rate of new riders"}}) {
		t.Errorf("%d %s", a.status, a.body)
	}
	before, counted := logged(), s.Stats().Received
	a, _ := fast.pings(crowdOf("flood", 1000))
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 429 || err != nil || wait < 1 {
		t.Errorf("a thousand more: %d %s, Retry-After %q, want 429", a.status, a.body, a.header.Get("Retry-After"))
	}
	if logged() != before || s.Stats().Received != counted {
		t.Error("something was kept of what was answered 429")
	}
	if a, said := fast.pings(onePing("first", 1)); a.status != 200 || said.Shed > 0 {
		t.Errorf("a rider who is known: %d %s", a.status, a.body)
	}
	if a, said := fast.pings(sosOf("in-need"), "Pingline-Priority: critical\r\n"); a.status != 200 || said.Accepted != 1 {
		t.Errorf("an SOS of a new rider: %d %s", a.status, a.body)
	}
	if a, said := dialFrom(t, s, "127.0.0.2").pings(onePing("another", 1)); a.status != 200 || said.Accepted != 1 {
		t.Errorf("another client: %d %s", a.status, a.body)
	}
	if a, said := dialFrom(t, s, "127.0.0.8").pings(crowdOf("backend", 500)); a.status != 200 || said.Accepted != 500 {
		t.Errorf("a backend of ours: %d", a.status)
	}
	w := s.cfg.Writer.Stats()
	sum := s.Stats().Rejected + s.Stats().Shed
	for v := pingline.Accepted; v < pingline.Rejected; v++ {
		sum += w.Verdicts[v]
	}
	if received := s.Stats().Received; sum != received || w.New != most+502 {
		t.Errorf("%d verdicts of %d pings, %d new tracks", sum, received, w.New)
	}
	if ready := send(t, "GET", url+"/readyz", nil); !strings.Contains(ready.body, "client 127.0.0.9 brings more new riders than --new-riders-rate allows") || !strings.Contains(ready.body, share.IfProxy) {
		t.Errorf("readyz: %s", ready.body)
	}
}

// The first minute of a fleet behind one backend.
func TestFleetBehindOneBackend(t *testing.T) {
	s, _ := testServer(t, Config{NewRidersRate: 1000})
	w := dial(t, s)
	for n := range 5 {
		if a, said := w.pings(crowdOf(fmt.Sprint("r-", n, "-"), 20_000)); a.status != 200 || said.Accepted != 20_000 {
			t.Fatalf("%d new riders: %d, %d accepted", (n+1)*20_000, a.status, said.Accepted)
		}
	}
	a, said := w.pings(crowdOf("more", 20_000) + crowdOf("most", 1))
	for n := 0; a.status == 200 && n < 10; n++ {
		a, said = w.pings(crowdOf(fmt.Sprint("more", n), 19_000))
	}
	if a.status == 200 && said.Shed == 0 {
		t.Error("there is no limit")
	}
}

// An answer tells of the first pings of a request that were too many, whatever the order
// of their times, in which they are judged.
func TestErrorsOfNewRidersAreTheFirst(t *testing.T) {
	s, _ := testServer(t, Config{NewRidersRate: 0.01})
	var body strings.Builder
	for i := range 300 { // the newest first
		body.WriteString(onePing(fmt.Sprint("r", i), i) + "\n")
	}
	a, said := dialFrom(t, s, "127.0.0.9").pings(body.String())
	if a.status != 200 || said.Shed != 299 || len(said.Errors) != phone.MaxRejections {
		t.Fatalf("%d, %d shed, %d errors", a.status, said.Shed, len(said.Errors))
	}
	for i, e := range said.Errors {
		if e.Index != i {
			t.Fatalf("error %d is of ping %d, want the first %d", i, e.Index, len(said.Errors))
		}
	}
}
