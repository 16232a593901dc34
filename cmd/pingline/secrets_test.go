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
	"pingline/ingest/server/certs/certstest"
)

// secretsRun is a server with a secret in each place that takes one, and all that it says.
type secretsRun struct {
	t       *testing.T
	p       *process
	dir     string
	quotes  string            // URL of the database
	secrets map[string]string // by what they are for
	client  *http.Client
	reached []string // flags by which commands reach the server
	answers strings.Builder
	printed strings.Builder // by commands
}

// startSecrets runs a server on a database, or a proxy before it, that quotes each request
// in its answer.
func startSecrets(t *testing.T) *secretsRun {
	t.Helper()
	r := &secretsRun{t: t, dir: t.TempDir(), secrets: map[string]string{
		"token of InfluxDB": "influx-token-hunter2-abcdefgh", "header for a proxy": "proxy-header-hunter3-abcdefgh", "secret of signatures": "signing-secret-hunter4-abcdefghijkl",
		"secret of OwnTracks": "owntracks-hunter5-abcdefghijkl", "key of pseudonyms": strings.Repeat("0123456789abcdef", 3) + "fedcba9876543210",
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
	r.quotes = quotes.URL
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
	ca := certstest.New(t, "ours")
	server := ca.Server()
	r.secrets["key of TLS"] = strings.Split(string(server.Key), "\n")[1]
	r.client, r.reached = certified(t, ca), []string{"--tls-ca=" + ca.File("roots.pem", ca.Text())}
	r.p = serve(t, filepath.Join(r.dir, "data"), quotes.URL, "--config="+config, "--auth=keys,jwt", "--keys="+keys,
		"--jwt-jwks="+jwks, "--jwt-issuer=i", "--jwt-audience=a", "--audit-log="+filepath.Join(r.dir, "audit.log"), "--max-error=0",
		"--owntracks-secrets="+ownTracks, "--pseudonyms="+write("pseudonyms", r.secrets["key of pseudonyms"]),
		"--tls-cert="+ca.File("tls.pem", server.Text), "--tls-key="+ca.File("tls.key", server.Key))
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
	resp, err := r.client.Do(req)
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

// command runs a command with a secret that it sends, and keeps all that it prints.
func (r *secretsRun) command(args ...string) {
	r.t.Helper()
	cmd := pinglineCommand(append(args, r.reached...)...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(&r.printed, "%s %s: %v\n%s", args[0], args[1], cmd.ProcessState, text)
}

// Keys, tokens and passwords, given in every way there is to a server that is noisy about
// everything, are in nothing that it says, lists or keeps: answers, metrics, profiles, log,
// audit trail, data directory, list of processes, and the trace of all goroutines; nor in the
// output and the files of commands that show them to it.
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
	ops := strings.TrimSuffix(r.p.ops, "/metrics")
	for _, name := range []string{"key", "wrong key", "signed token"} {
		header, keyFile := "--header=Authorization: Bearer "+r.secrets[name], filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(keyFile, []byte(r.secrets[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		acks := filepath.Join(r.dir, strings.ReplaceAll(name, " ", "-"))
		for _, at := range []string{r.p.url, r.quotes} { // a proxy in front may quote a request, too
			admin := map[string]string{r.p.url: ops, r.quotes: r.quotes}[at]
			acks += "x"
			r.command("top", "--once", "--target="+at, header)
			r.command("sim", "run", "--target="+at, header, "--riders=5", "--rate=50", "--for=1s", "--grace=1s", "--ack-log="+acks, "--html="+acks+".html")
			r.command("rider", "export", "ana", "--server="+admin, "--key-file="+keyFile, "--influx-host="+r.quotes)
			r.command("rider", "delete", "ana", "--server="+admin, "--key-file="+keyFile, "--wait=1s")
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
		for where, text := range map[string]string{"answers": r.answers.String(), "output of commands": r.printed.String(), "the log": r.p.said(), "the list of processes": string(listed), "files": kept} {
			for _, form := range []string{secret[len(secret)-18:], base64.StdEncoding.EncodeToString([]byte("ana:" + secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("the %s is in %s: %.300q", name, where, text[max(0, at-200):])
					break
				}
			}
		}
	}
	if !strings.Contains(r.printed.String(), "401 Unauthorized") || !strings.Contains(r.printed.String(), "removal ") {
		t.Errorf("the commands have shown nothing: %s", &r.printed)
	}
	t.Logf("%d secrets; %d bytes of answers, %d of log, %d of files, %d of commands, %d files of dead letters", len(r.secrets), r.answers.Len(), len(r.p.said()), len(kept), r.printed.Len(), letters())
}

// kept is all that the server has written to files.
func (r *secretsRun) kept() string {
	r.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(r.dir, path); err != nil || d.IsDir() || rel == "pingline.yaml" || rel == "jwks.json" || rel == "owntracks" || rel == "pseudonyms" {
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
