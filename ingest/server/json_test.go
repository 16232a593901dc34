package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// People read the answers: a comparison or an address in them is as it was written, and
// the keys come in the order of docs/api.md.
func TestAnswersAreForPeople(t *testing.T) {
	_, url := testServer(t, Config{Notes: func() []string { return []string{`<a> & "b"`} }})
	if a := send(t, http.MethodGet, url+"/readyz", nil); a.body != `{"ready":true,"level":0,"notes":["<a> & \"b\""]}` {
		t.Errorf("readyz: %s", a.body)
	}
	w, s, url := readServer(t)
	at := time.Now().Add(-time.Minute).UnixMilli()
	submit(t, w, job("r&1", at, 20))
	s.carry(s.log.Last() + 1)
	for _, tt := range []struct{ path, accept, begins, ends string }{
		{"/v1/riders/r&1", "*/*", `{"rider_id":"r&1","pings":[{"ts":`, `}],"partial":false}`},
		{fmt.Sprintf("/v1/riders/r&1/track?limit=7&from=%d", at), "*/*", `{"rider_id":"r&1","pings":[{"ts":`, fmt.Sprintf(`}],"next":"%d","complete_to":%d,"partial":false}`, at+6001, at+18_001)},
		{fmt.Sprintf("/v1/riders/r&1/track?from=%d", at), mimeGeoJSON, `{"type":"FeatureCollection","rider_id":"r&1","features":[{`, fmt.Sprintf(`}],"complete_to":%d,"partial":false}`, at+18_001)},
	} {
		a := send(t, http.MethodGet, url+tt.path, nil, "Accept", tt.accept)
		if !strings.HasPrefix(a.body, tt.begins) || !strings.HasSuffix(a.body, tt.ends) {
			t.Errorf("%s: %s\nwant %s … %s", tt.path, a.body, tt.begins, tt.ends)
		}
	}
	if a := send(t, http.MethodGet, url+"/v1/riders/r/track?from=<&limit=x", nil); a.status != http.StatusBadRequest || strings.Contains(a.body, `\u00`) {
		t.Errorf("refused with %s", a.body)
	}
}
