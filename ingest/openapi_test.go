package ingest

import (
	"context"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// The description of the API holds for what the server answers, it has every
// route of the server, and every status it names is shown here.
func TestOpenAPI(t *testing.T) {
	s, url := testServer(t, Config{MaxInProgress: 1 << 20, Limits: Limits{MaxPings: 10}})
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
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
	seen := map[string]bool{}
	check := func(method, path, body string, headers ...string) {
		t.Helper()
		a := send(t, method, url+path, []byte(body), headers...)
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
	check("POST", "/v1/pings", "["+strings.Repeat("{},", 10)+"{}]")
	check("POST", "/v1/pings", "[]", "Content-Encoding", "br")
	s.bytes.Add(1 << 20)
	check("POST", "/v1/pings", onePing("r", 8))
	s.bytes.Add(-1 << 20)
	check("GET", "/healthz", "")
	check("GET", "/readyz", "")
	s.cfg.Writer.failing.Store(true)
	check("GET", "/readyz", "")
	s.cfg.Writer.failing.Store(false)

	var described []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
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
		if r.Method != http.MethodHead && doc.Paths.Find(r.Path) == nil {
			t.Errorf("%s %s is served and not described", r.Method, r.Path)
		}
	}
}
