package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/phone"
	"pingline/ingest/server/conns"
	"pingline/ingest/server/framing"
	"pingline/partition"
	"pingline/query"
	"pingline/query/fleet"
	"pingline/query/history"
	"pingline/query/stream"
	"pingline/queue"
	"pingline/sink/store"
)

// The description of the API holds for what the server answers, it has every
// route of the server, and every status it names is shown here. Operations tagged
// phones are of protocols that internal/node adds, whose replies phonetest holds.
func TestOpenAPI(t *testing.T) {
	log := testLog(t, queue.Config{})
	shelf := newShelf(t, log)
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Overload: ingest.NewOverload(ingest.OverloadConfig{}), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}, Written: shelf.written})
	reader := shelf.reader()
	reader.Cells = func(partition.Box, int, int) ([]query.Activity, bool, error) {
		return []query.Activity{{Cell: 0x8839220f09fffff, Res: 8}}, false, nil
	}
	reader.Partitions = func(set string) (query.Partitions, error) {
		if set == "none" {
			return query.Partitions{}, errors.New("no set")
		}
		return query.Partitions{Shards: []query.ShardShare{{Name: "a", Set: "main"}}, HotCells: []query.BusyCell{{Cell: "8539220ffffffff"}}}, nil
	}
	watched := fleet.New(fleet.Config{Newest: w.NewestPings, MaxRiders: 100})
	reader.Riders = watched.Riders
	reader.Then = func(context.Context, *query.Then) (query.Seen, error) {
		list := []pingline.Entry{{Ping: pingline.Ping{Rider: "r", Fix: pingline.Fix{At: 1, LatE7: 1, LonE7: 1}}}}
		return query.Seen{Riders: fleet.Riders{List: list, At: 1, Partial: true}, Between: []bool{true}}, nil
	}
	past := &totals{}
	reader.Past = history.New(history.Config{Stores: []store.PointReader{past}, Resolutions: []int{8}, Windows: []time.Duration{10 * time.Second}})
	hub := stream.New(stream.Config{Map: watched})
	reader.Status = sampledStatus(t)
	s, url := testServer(t, Config{
		Writer: w, Submit: partlyAway(w), Reader: reader, Streams: hub, MaxInProgress: 1 << 20, Limits: phone.Limits{MaxPings: 10},
		RiderRate: 1e-6, RiderBurst: 3, ReadRate: 100, HeadTimeout: 3 * time.Second,
	})
	doc, err := openapi3.NewLoader().LoadFromFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("docs/openapi.yaml is invalid: %v", err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.FileBodyDecoder)
	seen := map[string]bool{}
	var verify func(a answer, method, path, body string)
	check := func(method, path, body string, headers ...string) {
		t.Helper()
		verify(send(t, method, url+path, []byte(body), headers...), method, path, body)
	}
	verify = func(a answer, method, path, body string) {
		t.Helper()
		req, err := http.NewRequest(method, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		route, params, err := router.FindRoute(req)
		if err != nil {
			t.Fatalf("%s %s is not described: %v", method, path, err)
		}
		seen[fmt.Sprint(method, " ", route.Path, " ", a.status)] = true
		in := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
			Status:                 a.status,
			Header:                 a.header,
			Options:                &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(context.Background(), in.SetBodyBytes([]byte(a.body))); err != nil {
			t.Errorf("%s %s with %q answered %d %s: %v", method, path, body, a.status, a.body, err)
		}
	}
	check("POST", "/v1/pings", onePing("r", 9))
	check("POST", "/v1/pings?verdicts=1", "["+onePing("r", 9)+`,{"rider_id":7},5]`)
	check("POST", "/v1/pings", "")
	check("POST", "/v1/pings", "{")
	check("POST", "/v1/pings", `{"rider_id":"r"}`)
	check("POST", "/v1/pings", onePing("fast", 1)+"\n"+onePing("fast", 2)+"\n"+onePing("fast", 3)+"\n"+onePing("fast", 4))
	check("POST", "/v1/pings", onePing("fast", 5)+"\n"+onePing("slow", 6))
	check("POST", "/v1/pings", onePing("fast", 7))
	check("POST", "/v1/pings", onePing("in-need", 1), "Pingline-Priority", "critical")
	check("POST", "/v1/pings?verdicts=1", onePing("away", 1)+"\n"+onePing("here", 1), "Prefer", "partial")
	slow := dial(t, s)
	slow.say(post + "Content-Length: 9\r\n\r\n[")
	verify(slow.hear(), "POST", "/v1/pings", "half a body")
	check("POST", "/v1/pings", "["+strings.Repeat("{},", 10)+"{}]")
	check("POST", "/v1/pings", "[]", "Content-Encoding", "br")
	check("POST", "/v1/pings", "[]", "Cookie", strings.Repeat("x", framing.HeadBytes))
	use(s.budget, 1<<20)
	check("POST", "/v1/pings", onePing("r", 8))
	use(s.budget, -1<<20)
	shelf.carry(log.Last() + 1)
	const cells = "/v1/cells?bbox=-9,41,-8,42"
	const riders = "/v1/riders?bbox=-9,41,-8,42"
	const events = "/v1/stream?bbox=-9,41,-8,42&riders=1"
	go func() { // a stream without end ends when there is a viewer
		until(t, "there is a viewer", func() bool { return hub.Stats().Viewers > 0 })
		hub.Close()
	}()
	verify(send(t, "GET", url+events, nil), "GET", events, "")
	const steps = "/v1/history?bbox=-9,41,-8,42"
	check("GET", cells+"&at=1760000005000", "")
	check("GET", riders+"&at=1760000005000", "")
	for _, path := range []string{steps, events, riders, "/v1/riders/r", "/v1/riders/r/track", cells, "/v1/partitions"} {
		check("GET", path, "")
		if path == "/v1/partitions" {
			check("GET", path+"?set=none", "")
		} else {
			check("GET", strings.Replace(strings.Replace(path, "riders/r", "riders/r%20", 1), "41,", "91,", 1), "")
		}
		use(s.reads.Slots, s.reads.Slots.Most())
		check("GET", path, "")
		use(s.reads.Slots, -s.reads.Slots.Most())
		s.reads.Rates.Pay(s.senders.Key(conns.HostOf(slow.LocalAddr())), 1_000_000)
		check("GET", path, "")
		s.reads.Rates.Pay(s.senders.Key(conns.HostOf(slow.LocalAddr())), -1_000_000)
	}
	check("GET", "/v1/status", "")
	s.reads.Rates.Pay(s.senders.Key(conns.HostOf(slow.LocalAddr())), 1_000_000)
	check("GET", "/v1/status", "")
	s.reads.Rates.Pay(s.senders.Key(conns.HostOf(slow.LocalAddr())), -1_000_000)
	check("GET", "/v1/riders/r/track", "", "Accept", mimeGeoJSON)
	check("GET", riders, "", "Accept", mimeGeoJSON)
	check("GET", "/v1/riders/nobody", "")
	check("GET", "/", "")
	check("GET", "/healthz", "")
	check("GET", "/readyz", "")
	s.over.Force(pingline.MaxLevel, false, "a test")
	check("GET", "/readyz", "")
	s.over.Force(0, false, "")

	path, secrets := keysOf(t, keyFor("none", "admin", "nobody"))
	_, guardedURL, _ := guarded(t, gateOf(t, path, auth.Config{}))
	for _, path := range []string{steps, events, riders, "/v1/riders/r", "/v1/riders/r/track", cells, "/v1/partitions", "/v1/status"} {
		verify(send(t, "GET", guardedURL+path, nil), "GET", path, "")
		verify(send(t, "GET", guardedURL+path, nil, "Authorization", "Bearer "+secrets["none"]), "GET", path, "")
	}
	verify(send(t, "POST", guardedURL+"/v1/pings", nil), "POST", "/v1/pings", "")
	verify(send(t, "POST", guardedURL+"/v1/pings", nil, "Authorization", "Bearer "+secrets["none"]), "POST", "/v1/pings", "")

	var described []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if slices.Contains(op.Tags, "phones") {
				continue
			}
			for status := range op.Responses.Map() {
				described = append(described, fmt.Sprint(method, " ", path, " ", status))
			}
		}
	}
	sort.Strings(described)
	for _, d := range described {
		if !seen[d] {
			t.Errorf("%s is described, and nothing here shows it", d)
		}
	}
	for _, r := range s.app.GetRoutes(true) {
		if r.Method != http.MethodHead && doc.Paths.Find(strings.ReplaceAll(r.Path, ":id", "{id}")) == nil {
			t.Errorf("%s %s is served and not described", r.Method, r.Path)
		}
	}
}

// What generators make clients of has names: each operation and each body of JSON.
// No name is one that JavaScript has already.
func TestOpenAPINames(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Array", "Date", "Error", "Map", "Number", "Object", "Request", "Response", "Set", "String"} {
		if doc.Components.Schemas[name] != nil {
			t.Errorf("the schema %s has a name of JavaScript's own", name)
		}
	}
	named := func(where string, content openapi3.Content) {
		for mime, media := range content {
			if strings.HasSuffix(mime, "json") && mime != "application/x-ndjson" && media.Schema.Ref == "" {
				t.Errorf("%s: the schema of %s has no name", where, mime)
			}
		}
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			where := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s has the operationId %q", where, op.OperationID)
			}
			ids[op.OperationID] = true
			if op.RequestBody != nil {
				named(where, op.RequestBody.Value.Content)
			}
			for status, response := range op.Responses.Map() {
				named(where+" "+status, response.Value.Content)
			}
		}
	}
	if ts := doc.Components.Schemas["Ping"].Value.Properties["ts"].Value; !ts.Type.Is("integer") || ts.Format != "int64" {
		t.Errorf("ts is %v %s, which generators have no one type for", ts.Type, ts.Format)
	}
}
