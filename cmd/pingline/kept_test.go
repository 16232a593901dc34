package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// --max-age is above the retention of the bucket. A phone is told that its ping is
// older than the store keeps, as soon as that is known; what came before that is
// a dead letter, and holds up nothing.
func TestPingsOlderThanTheStoreKeeps(t *testing.T) {
	for version, token := range map[int]string{1: "", 2: "the-token"} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			influx := startInfluxWith(t, influxd.Config{Version: version, Token: token, Retention: 7 * 24 * time.Hour})
			if err := influx.CreateBucket(t.Context(), "forever", 0); err != nil {
				t.Fatal(err)
			}
			p := serve(t, t.TempDir(), influx.URL(), "--influx-token="+token, "--influx-org="+influx.Org(), "--route=event=a/forever")
			n := 0
			send := func(age time.Duration, more string) (int, string) {
				n++
				at := time.Now().Add(-age).UnixMilli()
				resp, err := http.Post(p.url+"/v1/pings", "application/json",
					strings.NewReader(fmt.Sprintf(`[{"rider_id":"r-%d","ts":%d,"lat":1,"lon":2%s}]`, n, at, more)))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(body)
			}
			const day = 24 * time.Hour
			eventually(t, "the phone is told", func() bool {
				status, body := send(10*day, "")
				return status == http.StatusBadRequest && strings.Contains(body, `"field":"ts","error":"older than the 7 d that the store keeps"`)
			})
			for _, tt := range []struct {
				age    time.Duration
				more   string
				status int
			}{
				{7*day + time.Second, "", 400},
				{7*day - 2*time.Minute, "", 200},
				{6 * day, "", 200},
				{10 * day, `,"event":""`, 400},
				{10 * day, `,"event":"sos"`, 200}, // its bucket keeps it
				{31 * day, `,"event":"sos"`, 400},
			} {
				if status, body := send(tt.age, tt.more); status != tt.status {
					t.Errorf("a ping of %v ago%s: %d %s, want %d", tt.age, tt.more, status, body, tt.status)
				}
			}
			p.settled()
			if _, body := p.readyz(); strings.Contains(body, "stands still") || strings.Contains(body, "nothing written") {
				t.Errorf("readyz: %s", body)
			}
		})
	}
}
