package node

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/auth/token"
)

// keysMade are keys in a file.
type keysMade struct {
	path    string
	secrets map[string]string // by name
}

func keysFile(t *testing.T, rows ...auth.KeyRow) keysMade {
	t.Helper()
	made := keysMade{filepath.Join(t.TempDir(), "keys"), map[string]string{}}
	for i := range rows {
		made.secrets[rows[i].Name], rows[i].Hash = auth.NewSecret()
	}
	if err := auth.ChangeKeys(made.path, func([]auth.KeyRow) ([]auth.KeyRow, error) { return rows, nil }); err != nil {
		t.Fatal(err)
	}
	return made
}

// ask asks with a key, and returns status and body.
func ask(t *testing.T, url, key string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
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

func authConfig(t *testing.T, listen, opsListen string, a access.Settings) Config {
	cfg := DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n", listen, opsListen, t.TempDir(), "http://127.0.0.1:1"
	cfg.Logger, cfg.Access = slog.New(slog.DiscardHandler), a
	return cfg
}

func TestAuthSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		auth access.Settings
		want string
	}{
		{"nothing", access.Settings{}, ""},
		{"none", access.Settings{Ways: []string{"none"}}, ""},
		{"keys", access.Settings{Ways: []string{"keys"}, Keys: "f"}, ""},
		{"a way that is none", access.Settings{Ways: []string{"password"}}, `--auth: "password" is not none, keys, jwt or cert`},
		{"twice", access.Settings{Ways: []string{"keys", "keys"}, Keys: "f"}, "--auth: keys is there twice"},
		{"none and keys", access.Settings{Ways: []string{"keys", "none"}, Keys: "f"}, "--auth: none is there with others"},
		{"keys without a file", access.Settings{Ways: []string{"keys"}}, "--keys: and --auth keys: give both or neither"},
		{"jwt", access.Settings{Ways: []string{"jwt"}, JWT: token.Config{JWKS: "f", Issuer: "i", Audience: "a", RiderClaim: "sub", ScopeClaim: "scope"}}, ""},
		{"certificates without authorities", access.Settings{Ways: []string{"keys", "cert"}, Keys: "f"}, "--auth: cert takes --tls-client-ca"},
		{"an audit trail without keys", access.Settings{AuditLog: "f"}, "--audit-log: tells keys"},
		{"jwt without an issuer", access.Settings{Ways: []string{"jwt"}, JWT: token.Config{JWKS: "f"}}, "--jwt-issuer: is needed"},
		{"keys for tokens without jwt", access.Settings{Ways: []string{"none"}, JWT: token.Config{JWKS: "f"}}, "--jwt-jwks: and --auth jwt"},
		{"a file without keys", access.Settings{Ways: []string{"none"}, Keys: "f"}, "--keys: and --auth keys: give both or neither"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Access = tt.auth
			err := cfg.Check()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: filepath.Join(t.TempDir(), "none")})
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--keys: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Where everybody may do everything from elsewhere, /readyz says so.
func TestNoteOfNoKeys(t *testing.T) {
	for listen, want := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, "0.0.0.0:0": true, ":0": true} {
		if ln, err := net.Listen("tcp", listen); err == nil {
			_ = ln.Close()
		} else if listen == "[::1]:0" { // a machine without IPv6
			t.Log(err)
			continue
		}
		n := drive(t, authConfig(t, listen, "", access.Settings{Ways: []string{"none"}}))
		if _, body := ask(t, n.URL()+"/readyz", ""); strings.Contains(body, "--auth none: whoever reaches") != want {
			t.Errorf("%s: %s", listen, body)
		}
		n.stop()
	}
}

// A broken file of keys is in the notes, and the keys of before let in.
func TestNoteOfABrokenFile(t *testing.T) {
	keys := keysFile(t, auth.KeyRow{Name: "all", Scopes: []string{"read"}, Riders: []string{"*"}})
	n := drive(t, authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path}))
	broken := keys.path + ".new" // written in place, the file would be empty for a moment, and have no keys
	if err := errors.Join(os.WriteFile(broken, []byte("{"), 0o600), os.Rename(broken, keys.path)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		status, body := ask(t, n.URL()+"/readyz", keys.secrets["all"])
		if status == 200 && strings.Contains(body, "--keys: the keys stay as they were") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no note: %d %s", status, body)
		}
	}
}

// Metrics and profiles that can be reached from elsewhere are for admins; on the machine
// itself everybody has them.
func TestOpsRoutesAreForAdmins(t *testing.T) {
	keys := keysFile(t,
		auth.KeyRow{Name: "all", Scopes: []string{"write", "read"}, Riders: []string{"*"}},
		auth.KeyRow{Name: "ana", Scopes: []string{"admin"}, Riders: []string{"ana"}},
		auth.KeyRow{Name: "admin", Scopes: []string{"admin"}, Riders: []string{"*"}})
	for _, tt := range []struct {
		opsListen, key string
		want           int
	}{
		{":0", "", 401}, {":0", "pl_wrong", 401}, {":0", keys.secrets["all"], 403}, {":0", keys.secrets["ana"], 403}, {":0", keys.secrets["admin"], 200},
		{"127.0.0.1:0", "", 200},
	} {
		n := drive(t, authConfig(t, "127.0.0.1:0", tt.opsListen, access.Settings{Ways: []string{"keys"}, Keys: keys.path}))
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/", "/v1/riders/ana/unstored"} {
			status, body := ask(t, strings.TrimSuffix(n.OpsURL(), "/metrics")+path, tt.key)
			if status != tt.want || status != 200 && strings.Contains(body, "pingline_") {
				t.Errorf("%s at %s by %q: %d, want %d", path, tt.opsListen, tt.key, status, tt.want)
			}
		}
		n.stop()
	}
}

// Who exports and who removes a rider is in the audit trail, and the rider who is removed
// is not.
func TestTrailOfAdmins(t *testing.T) {
	keys := keysFile(t, auth.KeyRow{Name: "office", Scopes: []string{"admin", "read"}, Riders: []string{"*"}}, auth.KeyRow{Name: "desk", Scopes: []string{"read"}, Riders: []string{"*"}})
	trail := filepath.Join(t.TempDir(), "audit.log")
	for _, listen := range []string{":0", "127.0.0.1:0"} {
		n := drive(t, authConfig(t, "127.0.0.1:0", listen, access.Settings{Ways: []string{"keys"}, Keys: keys.path, AuditLog: trail}))
		ops := strings.TrimSuffix(n.OpsURL(), "/metrics")
		do := func(method, path, key string, want int) string {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), method, ops+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if listen == ":0" {
				req.Header.Set("Authorization", "Bearer "+keys.secrets[key])
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != want {
				t.Fatalf("%s %s by %s: %d %s %v", method, path, key, resp.StatusCode, body, err)
			}
			return string(body)
		}
		before, err := os.ReadFile(trail)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		do(http.MethodGet, "/v1/riders/ana/unstored", "office", 200)
		removal := do(http.MethodDelete, "/v1/riders/ben", "office", 202)
		if listen == ":0" {
			do(http.MethodDelete, "/v1/riders/ben", "desk", 403)
		}
		text, err := os.ReadFile(trail)
		if err != nil {
			t.Fatal(err)
		}
		var asked struct{ ID string }
		if err := json.Unmarshal([]byte(removal), &asked); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(strings.TrimPrefix(string(text), string(before))), "\n")
		by := map[string]string{":0": "office", "127.0.0.1:0": ""}[listen]
		want := []string{
			`"what":"read","key":"` + by + `","client":"127.0.0.1","rider":"ana"`,
			`"what":"removed","key":"` + by + `","client":"127.0.0.1","removal":"` + asked.ID + `"`,
			`"what":"failed","key":"desk","client":"127.0.0.1","reason":"scope"`,
		}[:len(lines)]
		for i := range want {
			if !strings.Contains(strings.ReplaceAll(lines[i], "::1", "127.0.0.1"), want[i]) {
				t.Errorf("at %s: line %s, want %s", listen, lines[i], want[i])
			}
		}
		if len(lines) != map[string]int{":0": 3, "127.0.0.1:0": 2}[listen] || strings.Contains(string(text), "ben") {
			t.Errorf("at %s: %s", listen, text)
		}
		n.stop()
	}
}

// An address for apps that know no path is told of, too, if it can be reached from elsewhere:
// there / takes pings.
func TestNoteOfTheAddressForApps(t *testing.T) {
	for listen, want := range map[string]bool{"": false, "127.0.0.1:0": false, ":0": true} {
		cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"none"}})
		cfg.OsmandListen = listen
		n := drive(t, cfg)
		if _, body := ask(t, n.URL()+"/readyz", ""); strings.Contains(body, "--auth none: whoever reaches") != want {
			t.Errorf("%q: %s", listen, body)
		}
		if listen != "" {
			status, body := ask(t, n.urlOf(n.server.Aside())+"/?id=r-1&lat=41.1&lon=-8.6", "")
			if st := n.server.Stats(); status != 200 || body != "" || st.Received != 1 || st.Rejected != 0 {
				t.Errorf("%q: %d %s, %+v", listen, status, body, st)
			}
		}
		n.stop()
	}
}
