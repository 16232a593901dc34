// Package phonetest is the acceptance suite of the protocols: each protocol passes Run,
// with requests in its own folder.
//
// testdata/NAME.request is a request as a client sends it, at Now:
//
//	POST /v1/pings?verdicts=1
//	Content-Type: application/json
//
//	{"rider_id":"r-1", …
//
// The body is the rest behind the first blank line. testdata/NAME.want is the expected
// result in JSON: pings, rejected pings, the error if the request is refused, the reply
// if every valid ping is accepted, and the reply to mixed verdicts.
// testdata/refusals.want has the replies to requests refused for good before their body
// is read. With PHONETEST_UPDATE=1 in the environment Run writes the .want files; read
// them before you commit them.
//
// The suite shows that a protocol is pure, keeps its bounds and never panics. It cannot
// show that the requests in testdata are as real clients send them.
package phonetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/phone"
)

// Now is the time at which the requests of testdata come.
var Now = time.UnixMilli(1_760_000_000_123).UTC()

const (
	// mutations is the number of mutations tried of each request.
	mutations = 300

	// The most that decoding may cost: for the request as a whole, and for each ping.
	requestAllocs, pingAllocs = 16, 8
	requestBytes, pingBytes   = 16 << 10, 512
)

// Run holds p to the contract of package phone.
func Run(t *testing.T, p phone.Protocol) {
	t.Helper()
	t.Run("table", func(t *testing.T) { table(t, &p) })
	list := cases(t)
	if len(list) < 3 {
		t.Errorf("%d requests in testdata, want 3 at least", len(list))
	}
	for i := range list {
		c := &list[i]
		t.Run(c.name, func(t *testing.T) {
			for name, hold := range holds {
				t.Run(name, func(t *testing.T) { hold(t, &p, c) })
			}
		})
	}
	t.Run("refusals", func(t *testing.T) { goldenRefusals(t, &p, list) })
	t.Run("signs", func(t *testing.T) { signs(t, &p, list) })
	t.Run("nesting", func(t *testing.T) { nesting(t, &p, list) })
}

// holds are the checks of each request.
var holds = map[string]func(testing.TB, *phone.Protocol, *testCase){
	"golden": golden, "again": again, "at once": atOnce, "too many pings": tooMany, "broken": broken, "cost": cost,
	"refused": refused, "outcomes": outcomes, "growth": growth, "later": later, "goroutines": leftBehind, "route": routed,
}

// routed checks that c comes by one of the routes.
func routed(t testing.TB, p *phone.Protocol, c *testCase) {
	if !slices.ContainsFunc(p.Routes, func(route string) bool { return phone.Overlap(c.in.Method+" "+c.in.Path, route) }) {
		t.Errorf("%s %s comes by none of the routes %v", c.in.Method, c.in.Path, p.Routes)
	}
}

// signs checks that there are pings on both sides of the equator and of Greenwich, so that
// a protocol that loses a sign fails.
func signs(t testing.TB, p *phone.Protocol, list []testCase) {
	var pings phone.Pings
	var north, south, east, west bool
	for i := range list {
		r := list[i].in
		_ = p.Read(&r, &pings)
		for _, ping := range pings.List {
			north, south = north || ping.LatE7 > 0, south || ping.LatE7 < 0
			east, west = east || ping.LonE7 > 0, west || ping.LonE7 < 0
		}
	}
	if !north || !south || !east || !west {
		t.Errorf("testdata has pings north %v, south %v, east %v, west %v: want all of them", north, south, east, west)
	}
}

// Fuzz decodes and answers mutations of the requests in testdata, and checks the bounds. A
// header is lines "Name: value".
func Fuzz(f *testing.F, p phone.Protocol) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range cases(f) {
		var header bytes.Buffer
		_ = c.in.Header.(http.Header).Write(&header)
		f.Add(c.in.Method, c.in.Path, c.in.Query, header.String(), c.in.Body)
		for range 8 {
			f.Add(c.in.Method, c.in.Path, string(mutate(rng, []byte(c.in.Query))), string(mutate(rng, header.Bytes())), mutate(rng, c.in.Body))
		}
	}
	var pings phone.Pings
	f.Fuzz(func(t *testing.T, method, path, query, lines string, body []byte) {
		header := http.Header{}
		for line := range strings.Lines(lines) {
			name, value, _ := strings.Cut(line, ":")
			header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		r := phone.Request{Method: method, Path: path, Query: query, Body: body, Header: header, Now: Now, Limits: limits()}
		held(t, &p, &r, "the request")
		err := decode(t, &p, &r, &pings)
		reply(t, &p, &r, &pings, err)
		if err == nil {
			word(t, &p, &r, mixed(&pings))
		}
	})
}

// testCase is a request of testdata.
type testCase struct {
	name string
	in   phone.Request
}

func limits() phone.Limits { return phone.Limits{}.WithDefaults() }

func cases(t testing.TB) (list []testCase) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.request")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, err := parse(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, testCase{strings.TrimSuffix(filepath.Base(file), ".request"), in})
	}
	return list
}

// parse reads a request in the form of a file of testdata.
func parse(text []byte) (r phone.Request, err error) {
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(strings.TrimSuffix(string(head), "\n"), "\n")
	method, target, ok := strings.Cut(lines[0], " ")
	if !ok {
		return r, fmt.Errorf("first line %q is not METHOD /path", lines[0])
	}
	header := http.Header{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return r, fmt.Errorf("header line %q has no colon", line)
		}
		header.Add(name, value)
	}
	r = phone.Request{Method: method, Header: header, Body: body, Now: Now, Limits: limits()}
	r.Path, r.Query, _ = strings.Cut(target, "?")
	return r, nil
}

// table checks the fields of p.
func table(t testing.TB, p *phone.Protocol) {
	if err := phone.Check([]phone.Protocol{*p}); err != nil {
		t.Error(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(dir) != p.Name {
		t.Errorf("protocol %s is in folder %s", p.Name, filepath.Base(dir))
	}
}

// decode decodes r and checks the rules for every result.
func decode(t testing.TB, p *phone.Protocol, r *phone.Request, to *phone.Pings) error {
	t.Helper()
	body := bytes.Clone(r.Body)
	checkBound(t, p, r)
	most, _ := p.Most(r)
	err := p.Read(r, to)
	if !bytes.Equal(body, r.Body) {
		t.Error("Decode has changed the body")
	}
	switch {
	case err != nil && phone.Status(err) == 0:
		t.Errorf("error %v is of no kind that the contract knows", err)
	case err != nil && to.Received+len(to.List)+len(to.Rejected) > 0:
		t.Errorf("kept %+v of a request that is refused", to)
	case len(to.List) > most:
		t.Errorf("%d pings, Bound says at most %d", len(to.List), most)
	case to.Received > r.Limits.MaxPings:
		t.Errorf("%d pings, the limit is %d", to.Received, r.Limits.MaxPings)
	}
	check(t, r, to)
	return err
}

// check checks that pings are in order, counted and valid.
func check(t testing.TB, r *phone.Request, to *phone.Pings) {
	t.Helper()
	rejected := 0
	to.EachReason(func(_ string, n int) { rejected += n })
	if rejected != to.Received-len(to.List) || len(to.Rejected) != min(rejected, phone.MaxRejections) {
		t.Errorf("%d received, %d valid, %d rejected for a reason, %d told", to.Received, len(to.List), rejected, len(to.Rejected))
	}
	if len(to.Index) != len(to.List) || !slices.IsSorted(to.Index) {
		t.Errorf("%d positions of %d pings: %v", len(to.Index), len(to.List), to.Index)
	}
	for i := range to.List {
		ping := to.List[i]
		errs := []error{pingline.CheckID("rider_id", ping.Rider), r.Limits.Times.Check(ping.At, r.Now), ping.SetPosition(ping.Lat(), ping.Lon())}
		for _, name := range []string{ping.Device, ping.Trip} {
			if name != "" {
				errs = append(errs, pingline.CheckID("name", name))
			}
		}
		if ping.Event != "" {
			errs = append(errs, pingline.CheckEvent(ping.Event))
		}
		if err := errors.Join(errs...); err != nil {
			t.Errorf("ping %d, %+v, is invalid: %v", i, ping, err)
		}
	}
}

// reply returns the reply to r with every valid ping accepted.
func reply(t testing.TB, p *phone.Protocol, r *phone.Request, pings *phone.Pings, err error) phone.Reply {
	t.Helper()
	got := outcome(pings, func(int) pingline.Verdict { return pingline.Accepted })
	got.Err = err
	return word(t, p, r, got)
}

// wanted is the content of a file .want.
type wanted struct {
	Pings    []ping            `json:"pings"`
	Rejected []phone.Rejection `json:"rejected,omitempty"`
	Error    string            `json:"error,omitempty"`
	Reply    wantedReply       `json:"reply"`
	Mixed    *wantedReply      `json:"mixed,omitempty"`
}

// wantedReply is a reply of a result.
type wantedReply struct {
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body"`
}

func answerOf(to phone.Reply) wantedReply {
	return wantedReply{to.Status, to.ContentType, string(to.Body)}
}

// ping is a ping of a result. An unknown number is left out.
type ping struct {
	Rider   string             `json:"rider_id"`
	Device  string             `json:"device_id,omitempty"`
	Event   string             `json:"event,omitempty"`
	Trip    string             `json:"trip_id,omitempty"`
	At      time.Time          `json:"ts"`
	Lat     float64            `json:"lat"`
	Lon     float64            `json:"lon"`
	Numbers map[string]float32 `json:"numbers,omitempty"`
}

func pingOf(p *pingline.Ping) ping {
	v := ping{Rider: p.Rider, Device: p.Device, Event: p.Event, Trip: p.Trip, At: p.Time(), Lat: p.Lat(), Lon: p.Lon(), Numbers: map[string]float32{}}
	for i, value := range p.Numbers() {
		if p.Has(1 << i) {
			v.Numbers[pingline.Numbers[i].Key] = value
		}
	}
	return v
}

// golden compares the result of a request with testdata.
func golden(t testing.TB, p *phone.Protocol, c *testCase) {
	var pings phone.Pings
	r := c.in
	err := decode(t, p, &r, &pings)
	to := reply(t, p, &r, &pings, err)
	got := wanted{Pings: []ping{}, Rejected: pings.Rejected}
	for i := range pings.List {
		got.Pings = append(got.Pings, pingOf(&pings.List[i]))
	}
	if err != nil {
		got.Error = err.Error()
	}
	got.Reply = answerOf(to)
	if len(pings.List) > 0 {
		a := answerOf(word(t, p, &r, mixed(&pings)))
		got.Mixed = &a
	}
	compare(t, c.name, got)
}

// goldenRefusals compares the replies to requests that are refused before their body has
// come, by the first request of testdata for each method and path.
func goldenRefusals(t testing.TB, p *phone.Protocol, list []testCase) {
	got := make(map[string]map[int]wantedReply)
	for i := range list {
		c := &list[i]
		by := c.in.Method + " " + c.in.Path
		if got[by] != nil {
			continue
		}
		got[by] = make(map[int]wantedReply)
		for _, err := range refusals {
			got[by][phone.Status(err)] = answerOf(refusal(t, p, c, err))
		}
	}
	compare(t, "refusals", got)
}

// compare compares got with testdata/name.want.
func compare(t testing.TB, name string, got any) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(got); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".want")
	if os.Getenv("PHONETEST_UPDATE") != "" {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("got %s\nwant, by %s, %s", &b, file, want)
	}
}

// again decodes into memory that held the pings of another request, and checks that
// Decode is a pure function of the request.
func again(t testing.TB, p *phone.Protocol, c *testCase) {
	var fresh, used phone.Pings
	r := c.in
	err := decode(t, p, &r, &fresh)
	for range 2 {
		if uerr := decode(t, p, &r, &used); fmt.Sprint(uerr) != fmt.Sprint(err) {
			t.Errorf("error %v the next time, was %v", uerr, err)
		}
		if !slices.Equal(used.List, fresh.List) || !slices.Equal(used.Index, fresh.Index) || !slices.Equal(used.Rejected, fresh.Rejected) {
			t.Errorf("%+v the next time, was %+v", used, fresh)
		}
	}
	one, two := reply(t, p, &r, &fresh, err), reply(t, p, &r, &used, err)
	if !reflect.DeepEqual(one, two) {
		t.Errorf("reply %+v the next time, was %+v", two, one)
	}
}

// atOnce decodes the same in several goroutines, for the race detector.
func atOnce(t testing.TB, p *phone.Protocol, c *testCase) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var pings phone.Pings
			r := c.in
			for range 20 {
				err := decode(t, p, &r, &pings)
				reply(t, p, &r, &pings, err)
			}
		})
	}
	wg.Wait()
}

// tooMany allows fewer pings than the request has.
func tooMany(t testing.TB, p *phone.Protocol, c *testCase) {
	var pings phone.Pings
	r := c.in
	if decode(t, p, &r, &pings) != nil {
		return
	}
	for most := range min(pings.Received, 50) {
		r.Limits.MaxPings = most
		if err := decode(t, p, &r, &pings); !errors.Is(err, phone.ErrTooLarge) {
			t.Errorf("error %v where %d pings are allowed, want ErrTooLarge", err, most)
		}
	}
}

// broken decodes requests that are cut off, and requests with bytes changed.
func broken(t testing.TB, p *phone.Protocol, c *testCase) {
	var pings phone.Pings
	rng := rand.New(rand.NewPCG(1, uint64(len(c.in.Body))))
	try := func(r phone.Request) {
		err := decode(t, p, &r, &pings)
		reply(t, p, &r, &pings, err)
	}
	for n := range mutations {
		r := c.in
		at := func(size int) int { return size * n / mutations }
		r.Body = r.Body[:at(len(r.Body))]
		try(r)
		r.Body = nil
		r.Query = r.Query[:at(len(r.Query))]
		try(r)
		r = c.in
		r.Header = http.Header{}
		r.Body, r.Query, r.Path = mutate(rng, r.Body), string(mutate(rng, []byte(r.Query))), string(mutate(rng, []byte(r.Path)))
		try(r)
	}
}

// words are texts that a parser may look for: the keys of a ping, and values.
var words = func() []string {
	list := []string{"null", "lat,lon", "true", "NaN", "Inf", "1e999", "-1", "2026-01-02T03:04:05Z"}
	for f := phone.Rider; f <= phone.Trip; f++ {
		list = append(list, f.String())
	}
	return list
}()

// mutate changes up to four bytes of a copy of b, or adds words.
func mutate(rng *rand.Rand, b []byte) []byte {
	const often = "\x00\xff\"\\{}[],:;/_<>&=%+-.0123456789 \nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	b = bytes.Clone(b)
	for range rng.IntN(5) {
		at := rng.IntN(len(b) + 1)
		c := often[rng.IntN(len(often))]
		switch {
		case rng.IntN(4) == 0:
			b = slices.Insert(b, at, []byte(words[rng.IntN(len(words))])...)
		case rng.IntN(3) == 0:
			b = slices.Insert(b, at, c)
		case at == len(b):
		case rng.IntN(2) == 0:
			b = slices.Delete(b, at, at+1)
		default:
			b[at] = c
		}
	}
	return b
}

// cost measures the allocations of Decode when Pings already has its memory.
func cost(t testing.TB, p *phone.Protocol, c *testCase) {
	var pings phone.Pings
	r := c.in
	_ = p.Read(&r, &pings)
	most := float64(requestAllocs + pingAllocs*pings.Received)
	if n := testing.AllocsPerRun(20, func() { _ = p.Read(&r, &pings) }); n > most {
		t.Errorf("%v allocations for %d pings, want %v at most", n, pings.Received, most)
	}
}

// nesting decodes bodies that are deep, long or repetitive, by the routes of the
// cases, and checks that they take no more memory than Bound says.
func nesting(t testing.TB, p *phone.Protocol, list []testCase) {
	const n = 50_000
	var pings phone.Pings
	for _, piece := range []string{"[", "{", `{"a":`, `[{"a":[`, "<a>", "(", "a=b&", "%", "0", "\n", ",", `"`, "\\", " ", "\xff", "\x00"} {
		for i := range list {
			r := list[i].in
			r.Body = bytes.Repeat([]byte(piece), n)
			held(t, p, &r, fmt.Sprintf("%s with a body of %d × %q", list[i].name, n, piece))
			_ = decode(t, p, &r, &pings)
		}
	}
}
