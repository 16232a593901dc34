package clickhouse_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// front returns a proxy of a server that has to be started; spoil may look at requests.
func front(t *testing.T, s *clickhousetest.Server, spoil func(w http.ResponseWriter, r *http.Request, pass http.Handler)) *httptest.Server {
	t.Helper()
	to, err := url.Parse(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	pass.ErrorLog = log.New(io.Discard, "", 0)
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { spoil(w, r, pass) }))
	proxy.Config.ErrorLog = pass.ErrorLog // it is refused on purpose
	t.Cleanup(proxy.Close)
	return proxy
}

// A write whose answer was lost is made again with the version that it had; one that was
// answered is not.
func TestLostAnswerKeepsTheVersion(t *testing.T) {
	s := clickhousetest.Run(t)
	var lose atomic.Bool
	proxy := front(t, s, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if strings.HasPrefix(r.URL.Query().Get("query"), "INSERT") && lose.CompareAndSwap(true, false) {
			pass.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, r)
	})
	proxy.Start()
	cfg := config(s, "pingline")
	cfg.URL = strings.Replace(proxy.URL, "http://", "clickhouse://"+clickhousetest.User+"@", 1) + "/pingline"
	to := open(t, cfg)
	list := storetest.Fleet(1, 10)
	mustWrite(t, to)
	lose.Store(true)
	err := to.Write(t.Context(), rowsOf(to, list...))
	refused(t, err, store.Retry, "")
	if strings.Contains(err.Error(), "INSERT") {
		t.Errorf("the error quotes the statement: %v", err)
	}
	versions := func() string {
		return s.Execute(t, "SELECT count(DISTINCT version), count() >= 10, count(DISTINCT rider, ts) FROM pingline.pings FORMAT CSV")
	}
	mustWrite(t, to, list...)
	if got := versions(); got != "1,1,10" {
		t.Errorf("after the second attempt: %s", got)
	}
	mustWrite(t, to, list...)
	if got := s.Execute(t, "SELECT max(version) > min(version) FROM pingline.pings"); got != "1" {
		if got = s.Execute(t, "SELECT count() FROM pingline.pings"); got != "10" { // unless a merge has dropped the first
			t.Errorf("a new write has the version of one that was answered: %s rows", got)
		}
	}
}

// Through TLS, the authority of the server's certificate must be known.
func TestTLS(t *testing.T) {
	s := clickhousetest.Run(t)
	proxy := front(t, s, func(w http.ResponseWriter, r *http.Request, pass http.Handler) { pass.ServeHTTP(w, r) })
	proxy.StartTLS()
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	cfg := config(s, "pingline")
	cfg.URL = strings.Replace(proxy.URL, "https://", "clickhouses://"+clickhousetest.User+"@", 1) + "/pingline"
	to := open(t, cfg)
	refused(t, to.Write(t.Context(), store.Rows{}), store.Configure, store.Address)
	cfg.CAFile = authorities
	to = open(t, cfg)
	refused(t, to.Write(t.Context(), store.Rows{}), store.Configure, store.Credentials) // there is no such file yet
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	if err := os.WriteFile(authorities, text, 0o600); err != nil {
		t.Fatal(err)
	}
	list := storetest.Fleet(1, 10)
	mustWrite(t, to, list...)
	if got := all(t, to); len(got) != len(list) {
		t.Errorf("%d rows, want %d", len(got), len(list))
	}
	cfg.URL = strings.Replace(cfg.URL, "clickhouses://", "clickhouse://", 1)
	refused(t, open(t, cfg).Write(t.Context(), store.Rows{}), store.Configure, store.Address)
	plain := config(s, "pingline")
	plain.URL = strings.Replace(plain.URL, "clickhouse://", "clickhouses://", 1)
	refused(t, open(t, plain).Write(t.Context(), store.Rows{}), store.Configure, store.Address)
}
