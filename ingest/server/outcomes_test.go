package server

import (
	"strings"
	"testing"

	"pingline/ingest/auth"
	"pingline/ingest/server/outcomes"
)

// What becomes of a phone's requests is counted by protocol: each request once.
func TestOutcomesOfPhones(t *testing.T) {
	path, secrets := keysOf(t, keyFor("all", "write", "*"), keyFor("ben", "write", "ben"))
	s, url, _ := guarded(t, gateOf(t, path, auth.Config{}))
	before := map[string]uint64{}
	for i, tt := range []struct {
		key, body, want string
		status          int
	}{
		{"all", onePing("ana", 500), outcomes.Taken, 200},
		{"all", "[" + onePing("ana", 490) + `,{"rider_id":7}]`, outcomes.Taken, 200},
		{"all", "[]", outcomes.Empty, 200},
		{"all", `{"rider_id":"ana"}`, outcomes.Rejected, 400},
		{"ben", onePing("ana", 480), outcomes.Rejected, 400},
		{"all", "{", outcomes.Refused, 400},
		{"all", strings.Repeat(" ", 5<<20), outcomes.Refused, 413},
		{"nobody", onePing("ana", 470), "", 401},
	} {
		a := send(t, "POST", url+"/v1/pings", []byte(tt.body), append(clientOf(i), "Authorization", "Bearer "+secrets[tt.key])...)
		if a.status != tt.status {
			t.Errorf("%d: %d %s, want %d", i, a.status, a.body, tt.status)
		}
		for _, c := range s.Stats().Phones {
			grew := c.N - before[c.Outcome]
			before[c.Outcome] = c.N
			if grew != map[bool]uint64{true: 1}[c.Outcome == tt.want] || c.Protocol != "native" {
				t.Errorf("%d: %s of %s grew by %d, want one %q", i, c.Outcome, c.Protocol, grew, tt.want)
			}
		}
	}
	// A client over its rate is to come again.
	s, url = testServer(t, Config{ClientRate: 1e-3})
	for n := uint64(1); n < 4; n++ {
		send(t, "POST", url+"/v1/pings", []byte("["+strings.TrimSuffix(strings.Repeat(onePing("ana", 460)+",", 5), ",")+"]"))
		counts := map[string]uint64{}
		for _, c := range s.Stats().Phones {
			counts[c.Outcome] = c.N
		}
		if counts[outcomes.Taken]+counts[outcomes.Later] != n || n > 1 && counts[outcomes.Later] == 0 {
			t.Errorf("after %d requests: %v", n, counts)
		}
	}
}
