package node

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"pingline/ingest/phone"
)

func TestTableOfProtocols(t *testing.T) {
	if err := phone.Check(protocols); err != nil || len(protocols) == 0 {
		t.Errorf("%d protocols in the table: %v", len(protocols), err)
	}
}

// Each route is described for machines, and each protocol of apps has a page for people.
func TestProtocolsAreDescribed(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	api, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		for _, route := range p.Routes {
			method, path := phone.Route(route)
			if !strings.Contains(string(api), path) {
				t.Errorf("docs/api.md has no %s of %s", path, p.Name)
			}
			item := doc.Paths.Find(path)
			if item == nil {
				t.Errorf("docs/openapi.yaml has no %s of %s", path, p.Name)
				continue
			}
			methods := []string{method}
			if method == "*" {
				methods = []string{"GET", "POST"}
			}
			for _, m := range methods {
				if op := item.GetOperation(m); op == nil || p.Name != "native" && !slices.Contains(op.Tags, "phones") {
					t.Errorf("docs/openapi.yaml has no operation %s %s with the tag phones", m, path)
				}
			}
		}
		if _, err := os.Stat("../../docs/phones/" + p.Name + ".md"); err != nil && p.Name != "native" {
			t.Errorf("the protocol %s has no page: %v", p.Name, err)
		}
	}
}
