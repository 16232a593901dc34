package setup

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/internal/node"
)

// What each app does with its settings lands as the rider's newest ping on a server that asks
// for keys, and with another key it does not.
func TestAppsAsTheyAreSetUp(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	desk, hash := auth.NewSecret()
	if err := auth.ChangeKeys(keys, func([]auth.KeyRow) ([]auth.KeyRow, error) {
		return []auth.KeyRow{{Name: "desk", Hash: hash, Scopes: []string{"read"}, Riders: []string{"*"}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for _, a := range appNames() {
		_, made[a] = added(t, addPhoneCmd{Rider: "r-" + a, App: a, URL: server, Keys: keys, NoQR: true})
	}
	cfg := node.DefaultConfig()
	cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "127.0.0.1:0", "", t.TempDir(), "http://127.0.0.1:1"
	cfg.Logger, cfg.Access.Ways, cfg.Access.Keys = slog.New(slog.DiscardHandler), []string{"keys"}, keys
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	do := func(method, at, body string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, a := range apps {
		for _, key := range []string{"pl_wrong", made[a.name]} {
			s := a.sheet(newSender{n.URL(), "r-" + a.name, "phone", key})
			method, at, body, header := asAppDoes(t, a.name, s, time.Now())
			status, said := do(method, at, body, header...)
			_, newest := do(http.MethodGet, n.URL()+"/v1/riders/r-"+a.name, "", "Authorization", "Bearer "+desk)
			if key == "pl_wrong" {
				if status != http.StatusUnauthorized || strings.Contains(newest, "41.15") {
					t.Errorf("%s with a wrong key: %d %s, %s", a.name, status, said, newest)
				}
				continue
			}
			if status != http.StatusOK || !strings.Contains(newest, `"lat":41.15`) {
				t.Errorf("%s: %d %s, the newest ping is %s", a.name, status, said, newest)
			}
		}
	}
}

// asAppDoes returns the request that an app makes of its settings.
func asAppDoes(t *testing.T, name string, s instructions, now time.Time) (method, at, body string, header []string) {
	t.Helper()
	link, err := url.Parse(s.link)
	if err != nil {
		t.Fatal(err)
	}
	q := link.Query()
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	switch name {
	case "owntracks":
		text, err := base64.StdEncoding.DecodeString(q.Get("inline"))
		if err != nil {
			t.Fatal(err)
		}
		var c struct{ URL, Username, Password, DeviceID, TID string }
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		return "POST", c.URL, fmt.Sprintf(`{"_type":"location","lat":41.15,"lon":-8.6,"tst":%d,"tid":%q}`, now.Unix(), c.TID),
			[]string{"Authorization", basic(c.Username, c.Password), "X-Limit-U", c.Username, "X-Limit-D", c.DeviceID}
	case "overland":
		return "POST", q.Get("url"), fmt.Sprintf(`{"locations":[{"type":"Feature","geometry":{"type":"Point","coordinates":[-8.6,41.15]},"properties":{"timestamp":%q,"device_id":%q}}]}`, now.UTC().Format(time.RFC3339), q.Get("device_id")),
			[]string{"Authorization", "Bearer " + q.Get("token"), "Content-Type", "application/json"}
	case "traccar":
		return "POST", q.Get("url"), url.Values{"id": {q.Get("id")}, "lat": {"41.15"}, "lon": {"-8.6"}, "timestamp": {fmt.Sprint(now.Unix())}}.Encode(), []string{"Content-Type", "application/x-www-form-urlencoded"}
	case "browser":
		given, err := url.ParseQuery(link.EscapedFragment())
		if err != nil {
			t.Fatal(err)
		}
		return "POST", strings.TrimSuffix(link.Scheme+"://"+link.Host+link.Path, "phone") + "v1/pings?verdicts=1",
			fmt.Sprintf(`{"rider_id":%q,"device_id":"browser-k3f9","ts":%d,"lat":41.15,"lon":-8.6}`, given.Get("rider"), now.UnixMilli()), []string{"Authorization", "Bearer " + given.Get("key")}
	case "gpslogger":
		settings := map[string]string{}
		for line := range strings.Lines(s.file) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			settings[key] = value
		}
		body := strings.NewReplacer("%LAT", "41.15", "%LON", "-8.6", "%TIME", now.UTC().Format("2006-01-02T15:04:05.000Z"), "%ACC", "4.0", "%ALT", "80.0", "%SPD", "3.0", "%DIR", "90.0", "%BATT", "71.0").Replace(settings["log_customurl_body"])
		return settings["log_customurl_method"], settings["log_customurl_url"], body, []string{"Authorization", basic(settings["log_customurl_basicauth_username"], settings["log_customurl_basicauth_password"])}
	}
	for _, step := range s.steps {
		if strings.Contains(step, "{0}") {
			return "GET", strings.NewReplacer("{0}", "41.15", "{1}", "-8.6", "{2}", fmt.Sprint(now.UnixMilli()), "{3}", "1.0", "{4}", "80", "{5}", "3", "{6}", "90").Replace(step), "", nil
		}
	}
	t.Fatalf("%s has no way to send", name)
	return "", "", "", nil
}
