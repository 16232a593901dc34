package livemap

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// needBundle skips a test where the bundle is not embedded.
func needBundle(t *testing.T) *Site {
	t.Helper()
	m, err := New(Config{Version: "v1", MaxError: 10, Resolutions: []int{8, 6}, Levels: []Level{{Name: "normal"}}})
	if errors.Is(err, ErrNotBuilt) {
		if _, err := exec.LookPath("npm"); err != nil {
			t.Skip("no bundle, and npm is not here to build it")
		}
		t.Skip("no bundle: make livemap builds it")
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func get(t *testing.T, m *Site, at string, header ...string) *http.Response {
	t.Helper()
	sent := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		sent.Set(header[i], header[i+1])
	}
	status, got, body, size := m.Answer(at, sent.Get)
	if body == nil {
		body = http.NoBody
	}
	r := &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(body), ContentLength: int64(size)}
	for name, value := range got {
		r.Header.Set(name, value)
	}
	return r
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.ContentLength {
		t.Errorf("a body of %d bytes, %d were announced", len(b), r.ContentLength)
	}
	return b
}

func TestPageIsSafeAndItsAssetsLast(t *testing.T) {
	m := needBundle(t)
	page := get(t, m, "/")
	text := string(body(t, page))
	policy := page.Header.Get("Content-Security-Policy")
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy lets in what is inline or of another host: %s", policy)
	}
	if page.Header.Get("Cache-Control") != "no-cache" || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		t.Errorf("header of the page: %v", page.Header)
	}
	if strings.Contains(text, "<style") || strings.Contains(text, "<script>") || strings.Contains(text, "{{") {
		t.Errorf("the page has something inline, or a gap: %s", text)
	}
	assets := 0
	for _, at := range m.Paths() {
		if !strings.HasPrefix(at, "/map/assets/") {
			continue
		}
		assets++
		got := get(t, m, at)
		if h := got.Header; !strings.Contains(h.Get("Cache-Control"), "immutable") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" {
			t.Errorf("%s: header %v", at, h)
		}
		plain := body(t, got)
		again := get(t, m, at, "If-None-Match", `"other", `+got.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified || len(body(t, again)) > 0 {
			t.Errorf("%s with its ETag: status %d", at, again.StatusCode)
		}
		small := get(t, m, at, "Accept-Encoding", "br, gzip")
		if small.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s is not compressed", at)
			continue
		}
		r, err := gzip.NewReader(small.Body)
		if err != nil {
			t.Fatal(err)
		}
		inflated, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(inflated, plain) {
			t.Errorf("%s compressed is another: %v", at, err)
		}
	}
	if assets < 5 {
		t.Errorf("%d assets", assets)
	}
	for _, at := range []string{"/map/", "/map/assets/", "/map/README.txt", "/map/../livemap.go", "/dist/index.html"} {
		if r := get(t, m, at); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", at, r.StatusCode)
		}
	}
}

// mostBytes is the most bytes of the bundle, compressed.
const mostBytes = 1_500_000

// The bundle is small enough for a phone: what is embedded, compressed.
func TestBundleIsSmall(t *testing.T) {
	needBundle(t)
	sum := int64(0)
	err := fs.WalkDir(bundle, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".gz") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		t.Logf("%8d bytes: %s", info.Size(), name)
		sum += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%8d bytes together", sum)
	if sum > mostBytes {
		t.Errorf("the bundle is %d bytes compressed, more than %d", sum, mostBytes)
	}
}

func TestTilesOfAnotherHost(t *testing.T) {
	for url, want := range map[string]string{
		"": "", "https://tiles.example.org/{z}/{x}/{y}.png": " https://tiles.example.org;",
		"http://127.0.0.1:8081/{z}/{x}/{y}.png?key=1": " http://127.0.0.1:8081;",
	} {
		policy, err := securityPolicy(url)
		if err != nil || want != "" && !strings.Contains(policy, want) {
			t.Errorf("%q: policy %q, %v", url, policy, err)
		}
	}
	for _, url := range []string{
		"tiles.example.org/{z}/{x}/{y}.png", "https://tiles.example.org/{z}/{x}.png", "javascript:alert(1)//{z}{x}{y}",
		"https://a;script-src *;/{z}/{x}/{y}", "file:///etc/{z}/{x}/{y}", "https://*/{z}/{x}/{y}", "https://*.org/{z}/{x}/{y}",
		"https://é.org/{z}/{x}/{y}", "https://user:secret@a.org/{z}/{x}/{y}", "https://:80/{z}/{x}/{y}", "https://{x}.org/{z}/{x}/{y}",
		"https://user:secret@a.org/{z}/{x}", "https://user:secret@%zz/{z}/{x}/{y}", "ftp://user:secret@a.org/{z}/{x}/{y}", "user:secret@a.org/{z}",
		"https://user:sec@secret@*/{z}/{x}/{y}", "https://a.org/{z}/{x}?key=secret", "https://user:secret@{x}.org/{z}/{x}/{y}",
	} {
		if policy, err := securityPolicy(url); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: policy %q, %v", url, policy, err)
		}
	}
}
