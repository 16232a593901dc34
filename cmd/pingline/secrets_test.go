package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"pingline/ingest/auth"
)

// secretsRun is a server with a secret in each place that takes one, and all that it says.
type secretsRun struct {
	t       *testing.T
	p       *process
	dir     string
	secrets map[string]string // by what they are for
	answers strings.Builder
}

// startSecrets runs a server on a database, or a proxy before it, that quotes each request
// in its answer.
func startSecrets(t *testing.T) *secretsRun {
	t.Helper()
	r := &secretsRun{t: t, dir: t.TempDir(), secrets: map[string]string{
		"token of InfluxDB": "influx-token-hunter2-abcdefgh", "header for a proxy": "proxy-header-hunter3-abcdefgh", "secret of signatures": "signing-secret-hunter4-abcdefghijkl",
		"secret of OwnTracks": "owntracks-hunter5-abcdefghijkl",
	}}
	var asked atomic.Int64
	quotes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		head, err := httputil.DumpRequest(req, false)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Influxdb-Error", strings.ReplaceAll(string(head), "\r\n", " "))
		status := []int{401, 503, 400, 422, 500, 429}[asked.Add(1)%6]
		if status >= 500 {
			w.Header().Set("Retry-After", "0")
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "no: %s", head)
	}))
	t.Cleanup(quotes.Close)
	write := func(name, text string) string {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys := filepath.Join(r.dir, "keys")
	r.secrets["key"], r.secrets["revoked key"], r.secrets["wrong key"] = "", "", ""
	rows := []auth.KeyRow{{Name: "all", Scopes: []string{"read", "write", "admin"}, Riders: []string{"*"}}, {Name: "old", Scopes: []string{"read", "write"}, Riders: []string{"*"}, Revoked: time.Now()}, {}}
	for i, name := range []string{"key", "revoked key", "wrong key"} {
		r.secrets[name], rows[i].Hash = auth.NewSecret()
	}
	if err := auth.ChangeKeys(keys, func([]auth.KeyRow) ([]auth.KeyRow, error) { return rows[:2], nil }); err != nil {
		t.Fatal(err)
	}
	var err error
	r.secrets["signed token"], err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "i", "aud": "a", "sub": "ana", "scope": "pingline:write", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(r.secrets["secret of signatures"]))
	if err != nil {
		t.Fatal(err)
	}
	jwks := write("jwks.json", fmt.Sprintf(`{"keys":[{"kty":"oct","kid":"k","alg":"HS256","k":%q}]}`, base64.RawURLEncoding.EncodeToString([]byte(r.secrets["secret of signatures"]))))
	ownTracks := write("owntracks", "ana "+r.secrets["secret of OwnTracks"]+"\n")
	config := write("pingline.yaml", fmt.Sprintf("influx-header: [\"X-Api-Key: %s\"]\nbatch-wait: 10ms\nlog-level: debug\n", r.secrets["header for a proxy"]))
	t.Setenv("PINGLINE_INFLUX_TOKEN", r.secrets["token of InfluxDB"])
	r.p = serve(t, filepath.Join(r.dir, "data"), quotes.URL, "--config="+config, "--auth=keys,jwt", "--keys="+keys,
		"--jwt-jwks="+jwks, "--jwt-issuer=i", "--jwt-audience=a", "--audit-log="+filepath.Join(r.dir, "audit.log"), "--max-error=0",
		"--owntracks-secrets="+ownTracks)
	return r
}

// say sends a request, and keeps the answer.
func (r *secretsRun) say(method, at, body string, headers ...string) int {
	r.t.Helper()
	req, err := http.NewRequest(method, at, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintln(&r.answers, resp.Status, resp.Header, string(text))
	return resp.StatusCode
}

// Keys, tokens and passwords, given in every way there is to a server that is noisy about
// everything, are in nothing that it says, lists or keeps: answers, metrics, profiles, log,
// audit trail, data directory, list of processes, and the trace of all goroutines.
func TestSecretsAreNowhere(t *testing.T) {
	r := startSecrets(t)
	n := 0
	for _, name := range []string{"key", "revoked key", "wrong key", "signed token"} {
		secret := r.secrets[name]
		for _, shows := range [][]string{
			{"Authorization", "Bearer " + secret}, {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("ana:"+secret))},
			{"Authorization", secret}, {"Cookie", "__Host-pingline=" + secret}, nil,
		} {
			query := ""
			if shows == nil {
				query = "?key=" + secret
			}
			n++
			ping := fmt.Sprintf(`{"rider_id":"ana","ts":%d,"lat":%v,"lon":8}`, time.Now().Add(time.Duration(n-100)*time.Second).UnixMilli(), 47+float64(n)/100)
			r.say("POST", r.p.url+"/v1/pings"+query, ping, shows...)
			r.say("POST", r.p.url+"/v1/pings"+query, "{", shows...)
			r.say("POST", r.p.url+"/map/session"+query, "", shows...)
			for _, path := range []string{"/v1/riders/ana", "/v1/riders/ana/track", "/v1/status", "/readyz", "/map/session", "/"} {
				r.say("GET", r.p.url+path+query, "", shows...)
			}
		}
	}
	for _, name := range []string{"key", "revoked key", "wrong key", "signed token"} { // in a path, and by a message that no secret opens
		for _, data := range []string{"***", base64.StdEncoding.EncodeToString(make([]byte, 100))} {
			r.say("POST", r.p.url+"/v1/owntracks/"+r.secrets[name], `{"_type":"encrypted","data":"`+data+`"}`, "X-Limit-U", "ana")
		}
	}
	// The database refuses for each reason there is; dead letters have what it said.
	letters := func() int {
		files, err := filepath.Glob(filepath.Join(r.dir, "data", "deadletter", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	eventually(t, "rows were refused and set aside", func() bool { return letters() > 0 })
	ops := strings.TrimSuffix(r.p.ops, "/metrics")
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/", "/v1/riders/ana/unstored"} {
		if status := r.say("GET", ops+path, ""); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	listed, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.p.cmd.Process.Pid))
	if err != nil && !os.IsNotExist(err) { // there is no /proc elsewhere
		t.Fatal(err)
	}
	if err := r.p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-r.p.exited
	if said := r.p.said(); !strings.Contains(said, "goroutine ") || !strings.Contains(said, "a request was not let in") {
		t.Error("the log has no trace, or no refusal")
	}
	kept := r.kept()
	if !strings.Contains(kept, "X-Api-Key: …") && !strings.Contains(r.p.said(), "X-Api-Key: …") {
		t.Error("nothing of what the database quoted has been kept: the test shows nothing")
	}
	for name, secret := range r.secrets {
		for where, text := range map[string]string{"answers": r.answers.String(), "the log": r.p.said(), "the list of processes": string(listed), "files": kept} {
			for _, form := range []string{secret[len(secret)-18:], base64.StdEncoding.EncodeToString([]byte("ana:" + secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("the %s is in %s: %.300q", name, where, text[max(0, at-200):])
					break
				}
			}
		}
	}
	t.Logf("%d bytes of answers, %d of log, %d of files, %d files of dead letters", r.answers.Len(), len(r.p.said()), len(kept), letters())
}

// kept is all that the server has written to files.
func (r *secretsRun) kept() string {
	r.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(r.dir, path); err != nil || d.IsDir() || rel == "pingline.yaml" || rel == "jwks.json" || rel == "owntracks" {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all.String()
}
