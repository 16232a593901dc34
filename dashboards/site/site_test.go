package site

import (
	"net/http"
	"testing"
	"testing/fstest"
)

// The header of an asset may differ from that of the others, and an answer's is its own.
func TestHeaderOfAnAsset(t *testing.T) {
	s := New("default-src 'none'")
	err := s.AddBundle(fstest.MapFS{
		"dist/index.html.gz": {Data: []byte("a")}, "dist/assets/a.js.gz": {Data: []byte("b")}, "dist/README.txt": {Data: []byte("c")}, "dist/no.gz": {Data: []byte("d")},
	}, "dist", func(name string) string {
		switch name {
		case "index.html":
			return "/page"
		case "assets/a.js":
			return "/page/a.js"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Add("/page/m.webmanifest", Asset{Body: []byte("{}")})
	s.Change("/page/m.webmanifest", map[string]string{"X-Own": "1", "Referrer-Policy": "same-origin"})
	s.Change("/page/none", map[string]string{"X-Own": "1"})
	if got := len(s.Paths()); got != 3 {
		t.Fatalf("%d paths: %v", got, s.Paths())
	}
	for at, want := range map[string][4]string{
		"/page":               {"text/html; charset=utf-8", "no-cache", "no-referrer", ""},
		"/page/a.js":          {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "no-referrer", ""},
		"/page/m.webmanifest": {"application/manifest+json", "no-cache", "same-origin", "1"},
	} {
		none := func(name string) string { return map[string]string{"Accept-Encoding": "gzip"}[name] }
		for range 2 {
			status, h, _, _ := s.Answer(at, none)
			if got := [4]string{h["Content-Type"], h["Cache-Control"], h["Referrer-Policy"], h["X-Own"]}; status != http.StatusOK || got != want || h["Content-Security-Policy"] != "default-src 'none'" {
				t.Errorf("%s: %d %v, want %v", at, status, h, want)
			}
			clear(h)
		}
	}
	if status, _, _, _ := s.Answer("/page/none", http.Header{}.Get); status != http.StatusNotFound {
		t.Errorf("no asset: %d", status)
	}
}

func TestGzipIsRefusedByWeight(t *testing.T) {
	for accepts, want := range map[string]bool{
		"": false, "gzip": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0, *": false, "*": true, "identity": false,
	} {
		if got := takesGzip(accepts); got != want {
			t.Errorf("Accept-Encoding %q: gzip is taken: %v", accepts, got)
		}
	}
}
