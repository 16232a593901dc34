package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/phone/native"
	"pingline/queue"
)

// quiet is a protocol whose phones repeat a request until it is answered 2xx: a ping
// in the query, or a body of "lat,lon" for the rider in a header.
var quiet = phone.Protocol{
	Name:    "quiet",
	Repeats: true,
	Routes:  []string{"GET /v1/quiet/{key}", "POST /v1/quiet"},
	Decode: func(r *phone.Request, to *phone.Pings) error {
		var d phone.Draft
		d.SetTime(r.Now.UnixMilli())
		pair, rider := string(r.Body), r.Header.Get("x-rider")
		if r.Method == http.MethodGet {
			values, err := url.ParseQuery(r.Query)
			if err != nil {
				return &phone.Error{Kind: phone.ErrMalformed, Text: err.Error()}
			}
			pair, rider = values.Get("at"), strings.TrimPrefix(r.Path, "/v1/quiet/")
		}
		if pair == "" { // a message without a position
			return nil
		}
		lat, lon, ok := strings.Cut(pair, ",")
		x, err1 := strconv.ParseFloat(lat, 64)
		y, err2 := strconv.ParseFloat(lon, 64)
		if !ok || err1 != nil || err2 != nil {
			return &phone.Error{Kind: phone.ErrMalformed, Text: "not lat,lon"}
		}
		d.SetName(phone.Rider, rider)
		d.SetNumber(phone.Lat, x)
		d.SetNumber(phone.Lon, y)
		return to.Add(&d)
	},
	Reply: func(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
		to.ContentType, to.Status = "text/plain", 202
		if got.Err != nil {
			to.Body = fmt.Appendf(to.Body, "never: %v", got.Err)
			return
		}
		to.Body = fmt.Appendf(to.Body, "%d of %d", got.Counts()[pingline.Accepted], got.Pings.Received)
	},
}

// The server admits, limits and sheds the same for every protocol of the table. A
// protocol words the replies to what is done, and to what will never be.
func TestTableOfProtocols(t *testing.T) {
	o := ingest.NewOverload(ingest.OverloadConfig{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: o, Bound: dedupe.Bound{MaxError: 10}})
	table := []phone.Protocol{native.Protocol, quiet}
	s, base := testServer(t, Config{Writer: w, Protocols: table, MaxBody: 1 << 16, MaxInProgress: 1 << 20, RiderRate: 0.001, RiderBurst: 2})
	far := 0
	place := func() string { far++; return fmt.Sprintf("41.%04d,-8.6", far) }
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     string
	}{
		{"a ping in the query", "GET", "/v1/quiet/r-1?at=" + place(), "", nil, 202, "1 of 1"},
		{"a ping in the body", "POST", "/v1/quiet", place(), []string{"X-Rider", "r-2"}, 202, "1 of 1"},
		{"a ping of our own form", "POST", "/v1/pings", onePing("r-3", 1), nil, 200, `"accepted":1`},
		{"a message without a position", "POST", "/v1/quiet", "", nil, 202, "0 of 0"},
		{"a ping that is rejected", "POST", "/v1/quiet", "91,5", []string{"X-Rider", "r-4"}, 202, "0 of 1"},
		{"a request that cannot be read", "POST", "/v1/quiet", "north", nil, 202, "never: not lat,lon"},
		{"a body that is too large", "POST", "/v1/quiet", strings.Repeat("1", 1<<16+1), nil, 202, "never: body is larger"},
		{"an encoding nobody knows", "POST", "/v1/quiet", "1,2", []string{"Content-Encoding", "br"}, 202, "never: content encoding"},
		{"a method that is not in the table", "POST", "/v1/quiet/r-1", "1,2", nil, 405, "POST is not for /v1/quiet/r-1: use GET"},
		{"only the head is asked for", "HEAD", "/v1/quiet/r-1?at=1,2", "", nil, 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := send(t, tt.method, base+tt.path, []byte(tt.body), tt.headers...)
			if a.status != tt.status || !strings.Contains(a.body, tt.want) {
				t.Errorf("%d %q, want %d with %q", a.status, a.body, tt.status, tt.want)
			}
		})
	}
	later := func(name string, status int) {
		t.Helper()
		a := send(t, "GET", base+"/v1/quiet/r-1?at="+place(), nil)
		if a.status != status || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `{"error":`) {
			t.Errorf("%s: %d %q, Retry-After %q, want %d of the server's", name, a.status, a.body, a.header.Get("Retry-After"), status)
		}
	}
	for range 2 { // the second may leave the bucket empty
		send(t, "GET", base+"/v1/quiet/r-1?at="+place(), nil)
	}
	later("a rider over its rate", 429)
	o.Force(pingline.MaxLevel, false, "a test")
	later("only events are taken", 503)
	o.Force(0, false, "")
	use(s.budget, 1<<20)
	later("too much in progress", 503)
	use(s.budget, -1<<20)

	st, counted := s.Stats(), uint64(0)
	for v := pingline.Accepted; v < pingline.Rejected; v++ {
		counted += w.Stats().Verdicts[v]
	}
	if counted += st.Shed + st.Rejected; counted != st.Received || st.Reasons["lat"] != 1 {
		t.Errorf("%d verdicts of %d pings, rejected for %v", counted, st.Received, st.Reasons)
	}
	if st.InProgress != 0 {
		t.Errorf("%d bytes are still in progress", st.InProgress)
	}
}

func TestTableThatContradictsItself(t *testing.T) {
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{})})
	if _, err := New(Config{Listen: "127.0.0.1:0", Writer: w, Cells: testCells, Protocols: []phone.Protocol{quiet, quiet}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("error %v with a protocol that is there twice", err)
	}
}

// A protocol that would answer in the server's place is refused before it serves.
func TestRoutesOfTheServerAreItsOwn(t *testing.T) {
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{})})
	for route, own := range map[string]string{
		"GET /v1/cells": "GET /v1/cells", "GET /healthz": "GET /healthz", "* /V1/Cells": "GET /v1/cells", "GET /v1/{any}": "GET /v1/",
		"GET /v1/riders/{key}/track": "GET /v1/riders/{id}/track", "GET /v1/riders/r-1/track": "GET /v1/riders/{id}/track", "POST /v1/cells": "", "GET /v1/fence": "",
	} {
		p := quiet
		p.Routes = []string{route}
		s, err := New(Config{Listen: "127.0.0.1:0", Writer: w, Cells: testCells, Protocols: []phone.Protocol{p}})
		if s != nil {
			_ = s.ln.Close()
		}
		if (err == nil) != (own == "") || err != nil && !(strings.Contains(err.Error(), route+" takes") && strings.Contains(err.Error(), own)) {
			t.Errorf("error %v with a protocol by %s, want one that names %q", err, route, own)
		}
	}
}

// A body that breaks off may be whole when it is sent again: no protocol may tell
// its client that it is done.
func TestBrokenOffBodiesAreNotDone(t *testing.T) {
	s, _ := testServer(t, Config{Protocols: []phone.Protocol{quiet}, HeadTimeout: time.Minute})
	w := dial(t, s)
	w.say("POST /v1/quiet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n41.1,\r\nnothing\r\n")
	if a := w.hear(); a.status != 400 {
		t.Errorf("%d %q, want 400", a.status, a.body)
	}
}
