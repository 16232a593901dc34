package sink

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pingline/sink/influx"
)

// Notes call waiting lines of our own lines, and not pings.
func TestOwnLinesAreNotCalledPings(t *testing.T) {
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer away.Close()
	w := testLog(t)
	s := testSink(t, w, testInflux(t, influx.Config{URL: away.URL}), nil)
	start(t, s)
	said := func() string { return strings.Join(s.Notes(), "\n") }
	w.commit(activity(12)...)
	eventually(t, "an operator is told of lines", func() bool { return strings.Contains(said(), "no ping waits, but 12 lines of our own: ") })
	w.commit(fleet(1, 5)...)
	eventually(t, "an operator is told of both", func() bool { return strings.Contains(said(), "5 pings wait, and 12 lines of our own: ") })
}
