package node

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/privacy"
)

// A phone is shown the newest position of the riders that its key names, and of nobody else: not
// inside a private zone, and the trail has it. The key gives no other right to them.
func TestFriendsInAnswers(t *testing.T) {
	for _, pseudonyms := range []bool{false, true} {
		t.Run(fmt.Sprint("pseudonyms ", pseudonyms), func(t *testing.T) {
			home := []string{"41.5,-8.5,500"}
			keys := keysFile(t,
				auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}, Friends: []string{"ben", "zoe", "ana"}},
				auth.KeyRow{Name: "ben", Scopes: []string{"write"}, Riders: []string{"ben"}, Zones: home},
				auth.KeyRow{Name: "carl", Scopes: []string{"write"}, Riders: []string{"carl"}},
			)
			trail := filepath.Join(t.TempDir(), "trail")
			cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path, AuditLog: trail})
			if pseudonyms {
				cfg.Privacy.Keys = filepath.Join(t.TempDir(), "pseudonyms")
				if err := privacy.MakeKey(cfg.Privacy.Keys); err != nil {
					t.Fatal(err)
				}
			}
			n := drive(t, cfg)
			now := time.Now().Unix()
			post := func(user string, at int64, lat float64) string {
				t.Helper()
				body := fmt.Sprintf(`{"_type":"location","lat":%v,"lon":-8.5,"tst":%d,"tid":"xx"}`, lat, at)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL()+"/v1/owntracks", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.SetBasicAuth(user, keys.secrets[user])
				req.Header.Set("X-Limit-D", "pixel")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatal(resp.StatusCode, err)
				}
				return string(got)
			}
			ben := func(at int64, lat float64) string {
				return fmt.Sprintf(`[{"_type":"location","topic":"owntracks/ben/phone","tid":"EN","lat":%v,"lon":-8.5,"tst":%d},`+
					`{"_type":"card","topic":"owntracks/ben/phone","tid":"EN","name":"ben"}]`, lat, at)
			}
			for i, step := range []struct {
				user string
				at   int64
				lat  float64
				want string
			}{
				{"ana", now - 60, 41.1, "[]"}, // of ben nothing is known yet
				{"ben", now - 55, 41.2, "[]"}, // ben's key names nobody
				{"carl", now - 54, 41.3, "[]"},
				{"ana", now - 50, 41.11, ben(now-55, 41.2)},
				{"ben", now - 45, 41.3, "[]"},
				{"ben", now - 40, 41.5, "[]"}, // at home
				{"ana", now - 35, 41.12, ben(now-45, 41.3)},
				{"ana", now - 3600, 41.13, "[]"}, // of an hour ago
			} {
				if got := post(step.user, step.at, step.lat); got != step.want {
					t.Errorf("step %d: %s is answered %s\nwant %s", i, step.user, got, step.want)
				}
			}
			for _, path := range []string{"/v1/riders/ben", "/v1/riders/ben/track", "/v1/riders"} {
				if status, body := ask(t, n.URL()+path, keys.secrets["ana"]); status != http.StatusForbidden {
					t.Errorf("%s is answered %d %s", path, status, body)
				}
			}
			n.stop()
			told, err := os.ReadFile(trail)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(told), `"what":"read"`); got != 1 { // of each pair one in a minute
				t.Errorf("the trail has %d readings, want 1: %s", got, told)
			}
		})
	}
}
