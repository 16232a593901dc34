package server

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/auth/token"
	"pingline/ingest/privacy"
	"pingline/ingest/server/certs"
	"pingline/ingest/server/framing"
	"pingline/partition"
	"pingline/query"
	"pingline/query/fleet"
	"pingline/query/history"
	"pingline/query/stream"
	"pingline/queue"
	"pingline/sink/store"
)

// keysOf makes a file of keys, and returns its path and the key of each name.
func keysOf(t testing.TB, rows ...auth.KeyRow) (path string, secrets map[string]string) {
	t.Helper()
	path, secrets = filepath.Join(t.TempDir(), "keys"), map[string]string{}
	for i := range rows {
		secrets[rows[i].Name], rows[i].Hash = auth.NewSecret()
	}
	if err := auth.ChangeKeys(path, func([]auth.KeyRow) ([]auth.KeyRow, error) { return rows, nil }); err != nil {
		t.Fatal(err)
	}
	return path, secrets
}

// gateOf returns a gate for a file of keys, which is read again until the test ends.
func gateOf(t testing.TB, path string, cfg auth.Config) *auth.Gate {
	t.Helper()
	var err error
	if cfg.Keys, err = auth.OpenKeyRing(path, cfg.Logger); err != nil {
		t.Fatal(err)
	}
	g := auth.NewGate(cfg)
	ended := make(chan error, 1)
	go func() { ended <- g.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	return g
}

func keyFor(name, scopes string, riders ...string) auth.KeyRow {
	return auth.KeyRow{Name: name, Scopes: strings.Split(scopes, ","), Riders: riders}
}

// guarded is a server with every route there is.
func guarded(t *testing.T, gate *auth.Gate) (s *Server, url string, log *queue.Log) {
	t.Helper()
	return behindDoor(t, gate, nil, nil)
}

// behindDoor is a server with every route there is, which changes pings at the door, over TLS if
// there are certificates.
func behindDoor(t *testing.T, gate *auth.Gate, door *privacy.Door, secured *certs.Certificates) (s *Server, url string, log *queue.Log) {
	t.Helper()
	log = testLog(t, queue.Config{})
	shelf := newShelf(t, log)
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Overload: ingest.NewOverload(ingest.OverloadConfig{}), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}, Written: shelf.written})
	reader := shelf.reader()
	reader.Cells = func(partition.Box, int, int) ([]query.Activity, bool, error) {
		return []query.Activity{{Cell: 0x8839220f09fffff, Res: 8}}, false, nil
	}
	reader.Partitions = func(string) (query.Partitions, error) {
		return query.Partitions{Shards: []query.ShardShare{{Name: "a"}}}, nil
	}
	watched := fleet.New(fleet.Config{Newest: w.NewestPings, MaxRiders: 100})
	reader.Riders = watched.Riders
	reader.Past = history.New(history.Config{Stores: []store.PointReader{&totals{}}, Resolutions: []int{8}, Windows: []time.Duration{10 * time.Second}})
	reader.Status = sampledStatus(t)
	s, url = testServer(t, Config{
		Gate: gate, TLS: secured, Door: door, Writer: w, Reader: reader, Streams: stream.New(stream.Config{Map: watched}), Version: "v1",
		Notes: func() []string { return []string{"a shard named secret-shard is away"} },
		Pages: func(path string, _ func(string) string) (int, map[string]string, io.Reader, int) {
			switch path {
			case "/map/a.js", "/phone", "/phone/a.js":
				return 200, nil, strings.NewReader("the map"), 7
			}
			return 404, nil, nil, 0
		},
		TrustedProxies: trusted("127.0.0.0/8"),
	})
	return s, url, log
}

func trusted(networks ...string) (list []netip.Prefix) {
	for _, n := range networks {
		list = append(list, netip.MustParsePrefix(n))
	}
	return list
}

// clientOf returns a header by which a request comes from the n-th of many clients.
func clientOf(n int) []string {
	return []string{"X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)}
}

// A request that a route takes, and its answer to a sender who may.
type routeRights struct {
	method, path string // the path of the request
	body         string // "ana" stands for a new ping of ana
	kind         string // open, write, rider or fleet
	right        int    // status
}

// rightsOfRoutes has a row for each route of the server.
var rightsOfRoutes = map[string]routeRights{
	"GET /":                    {"GET", "/", "", "open", 200},
	"GET /map/*":               {"GET", "/map/a.js", "", "open", 200},
	"GET /phone":               {"GET", "/phone", "", "open", 200},
	"GET /phone/*":             {"GET", "/phone/a.js", "", "open", 200},
	"GET /map/session":         {"GET", "/map/session", "", "open", 200},
	"POST /map/session":        {"POST", "/map/session", "", "fleet", 200},
	"DELETE /map/session":      {"DELETE", "/map/session", "", "open", 204},
	"GET /healthz":             {"GET", "/healthz", "", "open", 200},
	"GET /readyz":              {"GET", "/readyz", "", "open", 200},
	"POST /v1/pings":           {"POST", "/v1/pings", "ana", "write", 200},
	"GET /v1/riders/:id":       {"GET", "/v1/riders/ana", "", "rider", 200},
	"GET /v1/riders/:id/track": {"GET", "/v1/riders/ana/track", "", "rider", 200},
	"GET /v1/riders":           {"GET", "/v1/riders?bbox=-9,41,-8,42", "", "fleet", 200},
	"GET /v1/cells":            {"GET", "/v1/cells?bbox=-9,41,-8,42", "", "fleet", 200},
	"GET /v1/history":          {"GET", "/v1/history?bbox=-9,41,-8,42", "", "fleet", 200},
	"GET /v1/stream":           {"HEAD", "/v1/stream?bbox=-9,41,-8,42&riders=1", "", "fleet", 200},
	"GET /v1/partitions":       {"GET", "/v1/partitions", "", "fleet", 200},
	"GET /v1/status":           {"GET", "/v1/status", "", "fleet", 200},
}

// senders are who may ask, with the status for each kind of route; 200 stands for the
// route's own.
var sendersOfRights = []struct {
	name                      string
	open, write, rider, fleet int
}{
	{"no key", 200, 401, 401, 401},
	{"wrong key", 200, 401, 401, 401},
	{"nothing readable", 200, 401, 401, 401},
	{"expired", 200, 401, 401, 401},
	{"revoked", 200, 401, 401, 401},
	{"ana", 200, 200, 200, 403},
	{"ana by prefix", 200, 200, 200, 403},
	{"ben", 200, 400, 403, 403}, // each ping is rejected alone: 400 says that none was left
	{"ana read-only", 200, 403, 200, 403},
	{"ana write-only", 200, 200, 403, 403},
	{"all read-only", 200, 403, 200, 200},
	{"all write-only", 200, 200, 403, 403},
	{"admin", 200, 403, 200, 200},
	{"ana admin", 200, 403, 200, 403},
	{"all", 200, 200, 200, 200},
	{"token of ana", 200, 200, 200, 403},
	{"token of ben", 200, 400, 403, 403},
	{"token of ana, read-only", 200, 403, 200, 403},
	{"token for all, read-only", 200, 403, 200, 200},
	{"token for all, admin", 200, 403, 200, 200},
	{"token without scopes", 200, 403, 403, 403},
	{"token without a rider", 200, 400, 403, 403},
	{"token, expired", 200, 401, 401, 401},
	{"token, not valid yet", 200, 401, 401, 401},
	{"token for another audience", 200, 401, 401, 401},
	{"token of another issuer", 200, 401, 401, 401},
	{"token signed by another", 200, 401, 401, 401},
	{"token signed by nobody", 200, 401, 401, 401},
	{"token signed with the public key", 200, 401, 401, 401},

	// Behind a connection with a client certificate.
	{"certificate of ana", 200, 200, 200, 403},
	{"certificate of ben", 200, 400, 403, 403},
	{"certificate of ana, key of ben", 200, 400, 403, 403}, // the key counts
	{"certificate of ana, wrong key", 200, 401, 401, 401},
	{"certificate of ana, key for all", 200, 200, 200, 200},
	{"certificate of ana, token of ben", 200, 400, 403, 403},
	{"certificate of ana, by a page of another origin", 200, 401, 401, 401},
}

// tokensOf returns a verifier of tokens, and a token of each sender of the table.
func tokensOf(t *testing.T) (auth.Tokens, map[string]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b := base64.RawURLEncoding.EncodeToString
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"keys":[{"kty":"EC","kid":"k","crv":"P-256","x":%q,"y":%q}]}`, b(point[1:33]), b(point[33:])), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := token.New(token.Config{JWKS: path, Issuer: "iss", Audience: "aud", RiderClaim: "sub", ScopeClaim: "scope"})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(method jwt.SigningMethod, by any, changes jwt.MapClaims) string {
		claims := jwt.MapClaims{"iss": "iss", "aud": "aud", "sub": "ana", "scope": "write read", "exp": time.Now().Add(time.Hour).Unix()}
		maps.Copy(claims, changes)
		text, err := jwt.NewWithClaims(method, claims).SignedString(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	es := func(changes jwt.MapClaims) string { return sign(jwt.SigningMethodES256, key, changes) }
	return v, map[string]string{
		"token of ana":                     es(nil),
		"token of ben":                     es(jwt.MapClaims{"sub": "ben"}),
		"token of ana, read-only":          es(jwt.MapClaims{"scope": "read"}),
		"token for all, read-only":         es(jwt.MapClaims{"scope": "read all-riders"}),
		"token for all, admin":             es(jwt.MapClaims{"scope": "admin all-riders"}),
		"token without scopes":             es(jwt.MapClaims{"scope": "openid"}),
		"token without a rider":            es(jwt.MapClaims{"sub": 7}),
		"token, expired":                   es(jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()}),
		"token, not valid yet":             es(jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()}),
		"token for another audience":       es(jwt.MapClaims{"aud": "other"}),
		"token of another issuer":          es(jwt.MapClaims{"iss": "other"}),
		"token signed by another":          sign(jwt.SigningMethodES256, other, nil),
		"token signed by nobody":           sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
		"token signed with the public key": sign(jwt.SigningMethodHS256, point, nil),
	}
}

// Every route of the router × every kind of sender: the exact status, and nothing is stored
// or shown that must not be.
func TestRightsOfEveryRoute(t *testing.T) {
	t.Run("by names", func(t *testing.T) { rightsOfEveryRoute(t, nil, false) })
	t.Run("by pseudonyms", func(t *testing.T) { rightsOfEveryRoute(t, pseudonymous(t), false) })
	t.Run("by names, over TLS", func(t *testing.T) { rightsOfEveryRoute(t, nil, true) })
	t.Run("by pseudonyms, over TLS", func(t *testing.T) { rightsOfEveryRoute(t, pseudonymous(t), true) })
}

func rightsOfEveryRoute(t *testing.T, door *privacy.Door, secure bool) {
	expired, revoked := keyFor("expired", "write,read,admin", "*"), keyFor("revoked", "write,read,admin", "*")
	expired.Expires, revoked.Revoked = time.Now().Add(-time.Second), time.Now()
	path, secrets := keysOf(t, expired, revoked,
		keyFor("ana", "write,read", "ana"), keyFor("ana-prefix", "write,read", "an*"), keyFor("ben", "write,read", "ben"),
		keyFor("ana-read", "read", "ana"), keyFor("ana-write", "write", "ana"), keyFor("all-read", "read", "*"), keyFor("all-write", "write", "*"),
		keyFor("admin", "admin", "*"), keyFor("ana-admin", "admin", "ana"), keyFor("all", "write,read", "*"))
	headers := map[string][]string{"no key": nil, "wrong key": {"Authorization", "Bearer pl_wrong"}, "nothing readable": {"Authorization", "Digest x"}}
	for name, secret := range secrets {
		name = strings.NewReplacer("ana-prefix", "ana by prefix", "-read", " read-only", "-write", " write-only", "-admin", " admin").Replace(name)
		headers[name] = []string{"Authorization", "Bearer " + secret}
	}
	verifier, tokens := tokensOf(t)
	for name, text := range tokens {
		headers[name] = []string{"Authorization", "Bearer " + text}
	}
	gate := gateOf(t, path, auth.Config{Tokens: verifier, Names: door.Names()})
	clients := map[string]*http.Client{}
	var secured *certs.Certificates
	if secure {
		secured, clients = certifiedClients(t, gate, "", "ana", "ben")
		headers["certificate of ana"], headers["certificate of ben"] = []string{}, []string{}
		headers["certificate of ana, key of ben"] = headers["ben"]
		headers["certificate of ana, wrong key"] = headers["wrong key"]
		headers["certificate of ana, key for all"] = headers["all"]
		headers["certificate of ana, token of ben"] = headers["token of ben"]
		headers["certificate of ana, by a page of another origin"] = []string{"Sec-Fetch-Site", "cross-site"}
	}
	s, url, log := behindDoor(t, gate, door, secured)
	// by returns the client of a sender: that of its certificate.
	by := func(sender string) *http.Client {
		_, certified, _ := strings.Cut(sender, "certificate of ")
		certified, _, _ = strings.Cut(certified, ",")
		return cmp.Or(clients[certified], http.DefaultClient)
	}
	stored := func() (n int) { return len(entries(t, log)) }
	if a := sendBy(t, by(""), "POST", url+"/v1/pings", []byte(onePing("ana", 3600)), headers["all"]...); a.status != 200 {
		t.Fatal(a.status, a.body)
	}
	ago, seen, senders := 40_000, map[string]bool{}, 0
	for _, r := range s.app.GetRoutes(true) {
		if r.Method == http.MethodHead {
			continue
		}
		name := r.Method + " " + r.Path
		row, ok := rightsOfRoutes[name]
		if !ok {
			t.Errorf("%s is a route without a row of rights", name)
			continue
		}
		seen[name] = true
		for _, sender := range sendersOfRights {
			want := map[string]int{"open": sender.open, "write": sender.write, "rider": sender.rider, "fleet": sender.fleet}[row.kind]
			if want == 200 {
				want = row.right
			}
			body := row.body
			if body == "ana" {
				ago -= 60
				body = onePing("ana", ago)
			}
			if !secure && strings.HasPrefix(sender.name, "certificate") {
				continue
			}
			before := stored()
			if headers[sender.name] == nil && sender.name != "no key" {
				t.Fatalf("%s shows nothing", sender.name)
			}
			senders++
			header := append(clientOf(senders), headers[sender.name]...)
			a := sendBy(t, by(sender.name), row.method, url+row.path, []byte(body), header...)
			what := fmt.Sprintf("%s by %s", name, sender.name)
			if a.status != want {
				t.Errorf("%s: %d %s, want %d", what, a.status, a.body, want)
			}
			// An earlier ping that was held may be stored, too.
			if grew := stored() - before; (grew > 0) != (row.kind == "write" && want == 200) {
				t.Errorf("%s stored %d pings", what, grew)
			}
			if want != 200 && (strings.Contains(a.body, "41.1") || strings.Contains(a.body, "-8.6")) {
				t.Errorf("%s shows a position: %s", what, a.body)
			}
			if notes := strings.Contains(a.body, "secret-shard"); notes != (name == "GET /readyz" && sender.fleet == 200) {
				t.Errorf("%s: a note is shown is %v", what, notes)
			}
			if challenge := a.header.Get("WWW-Authenticate"); (want == 401) != strings.HasPrefix(challenge, `Bearer realm="pingline"`) {
				t.Errorf("%s: WWW-Authenticate %q", what, challenge)
			}
			if want == 400 && !strings.Contains(a.body, `"field":"rider_id","error":"this key is not for this rider"`) {
				t.Errorf("%s: %s", what, a.body)
			}
			if row.method == "GET" { // HEAD is the same route
				if h := sendBy(t, by(sender.name), "HEAD", url+row.path, nil, header...); h.status != want || h.body != "" {
					t.Errorf("HEAD of %s: %d", what, h.status)
				}
			}
		}
	}
	for name := range rightsOfRoutes {
		if !seen[name] {
			t.Errorf("%s has a row, and is no route", name)
		}
	}
	t.Logf("%d routes, %d senders of requests", len(seen), senders)
}

// Who reads a rider's pings is told, and who only tries to is told as a failure.
func TestReadsAreTold(t *testing.T) {
	path, secrets := keysOf(t, keyFor("desk", "read", "*"), keyFor("ben", "read", "ben"))
	var mu sync.Mutex
	var told []string
	_, url, _ := guarded(t, gateOf(t, path, auth.Config{
		Read: func(key, rider string, client netip.Addr) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(key, " ", rider, " ", client))
		},
		Failed: func(e *auth.Denied, client netip.Addr) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(e.Name, " ", e.Cause, " ", client))
		},
	}))
	for _, who := range []string{"desk", "ben"} {
		send(t, "GET", url+"/v1/riders/ana/track", nil, "Authorization", "Bearer "+secrets[who], "X-Forwarded-For", "10.0.0.9")
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, []string{"desk ana 10.0.0.9", "ben rider 10.0.0.9"}) {
		t.Errorf("told: %q", told)
	}
}

// A refusal of a rider is the same whether there is such a rider or not.
func TestRidersCannotBeGuessed(t *testing.T) {
	path, secrets := keysOf(t, keyFor("all", "write", "*"), keyFor("ben", "read", "ben"))
	_, url, _ := guarded(t, gateOf(t, path, auth.Config{}))
	send(t, "POST", url+"/v1/pings", []byte(onePing("ana", 60)), "Authorization", "Bearer "+secrets["all"])
	there := send(t, "GET", url+"/v1/riders/ana", nil, "Authorization", "Bearer "+secrets["ben"])
	nowhere := send(t, "GET", url+"/v1/riders/zoe", nil, "Authorization", "Bearer "+secrets["ben"])
	if there.status != 403 || nowhere.status != 403 || there.body != nowhere.body {
		t.Errorf("%d %s; %d %s", there.status, there.body, nowhere.status, nowhere.body)
	}
}

// A key is taken from each place that a client can put it in; the first place counts.
func TestPlacesOfAKey(t *testing.T) {
	path, secrets := keysOf(t, keyFor("all", "write,read", "*"))
	_, url, _ := guarded(t, gateOf(t, path, auth.Config{}))
	key := secrets["all"]
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, tt := range []struct {
		name, query, header string
		want                int
	}{
		{"Bearer", "", "Bearer " + key, 200},
		{"bearer", "", "bearer " + key, 200},
		{"Basic, as password", "", basic("ana:" + key), 200},
		{"Basic without a user", "", basic(":" + key), 200},
		{"Basic, as user", "", basic(key + ":"), 401},
		{"the query", "?key=" + key, "", 200},
		{"the query among others", "?a=b&key=" + key + "&c", "", 200},
		{"a wrong header, and the query", "?key=" + key, "Bearer pl_wrong", 401},
		{"a header in another scheme, and the query", "?key=" + key, "Digest x", 401},
		{"the header, and a wrong query", "?key=pl_wrong", "Bearer " + key, 200},
		{"an empty query", "?key=", "", 401},
		{"the query of Dawarich", "?api_key=" + key, "", 200},
		{"both queries, the first of them wrong", "?api_key=" + key + "&key=pl_wrong", "", 401},
		{"both queries, the second of them wrong", "?api_key=pl_wrong&key=" + key, "", 200},
		{"a part of the key", "", "Bearer " + key[:len(key)-1], 401},
		{"the key and more", "", "Bearer " + key + "x", 401},
	} {
		var header []string
		if tt.header != "" {
			header = []string{"Authorization", tt.header}
		}
		if a := send(t, "GET", url+"/v1/partitions"+tt.query, nil, header...); a.status != tt.want {
			t.Errorf("%s: GET %d, want %d", tt.name, a.status, tt.want)
		}
		if a := send(t, "POST", url+"/v1/pings"+tt.query, []byte("[]"), header...); a.status != tt.want {
			t.Errorf("%s: POST %d, want %d", tt.name, a.status, tt.want)
		}
	}
}

// Others in a batch are rejected one by one, and the rider's own pings are stored.
func TestBatchOfSeveralRiders(t *testing.T) {
	path, secrets := keysOf(t, keyFor("ana", "write", "ana"))
	_, url, log := guarded(t, gateOf(t, path, auth.Config{}))
	body := "[" + onePing("ben", 300) + "," + onePing("ana", 200) + ",5," + onePing("cy", 100) + "]"
	a := send(t, "POST", url+"/v1/pings?verdicts=1", []byte(body), "Authorization", "Bearer "+secrets["ana"])
	var said struct {
		Verdicts []string
		Errors   []struct {
			Index int
			Field string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		t.Fatal(err)
	}
	if a.status != 200 || !slices.Equal(said.Verdicts, []string{"rejected", "accepted", "rejected", "rejected"}) || len(said.Errors) != 3 ||
		said.Errors[0].Field != "rider_id" || said.Errors[1].Field != "" || said.Errors[2].Field != "rider_id" || said.Errors[2].Index != 3 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, e := range entries(t, log) {
		if e.Rider != "ana" {
			t.Errorf("a ping of %s is in the log", e.Rider)
		}
	}
}

// A refusal is given by the head alone, to a client that waits with its body as well, and
// the connection of a small body is used again.
func TestDeniedBeforeTheBody(t *testing.T) {
	path, _ := keysOf(t, keyFor("ana", "write", "ana"))
	s, _, _ := guarded(t, gateOf(t, path, auth.Config{}))
	w := dial(t, s)
	w.say(post + "Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
	if a := w.hear(); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if in := s.Stats().InProgress; in != 0 {
		t.Errorf("%d bytes are charged", in)
	}
	again := dial(t, s)
	for range 2 {
		again.say(post + "Content-Length: 2\r\n\r\n[]")
		if a := again.hear(); a.status != 401 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// A key's rate is its own: over it the key's requests get 429, and other keys of the same
// address go on.
func TestRateOfAKeyIsItsOwn(t *testing.T) {
	slow := keyFor("slow", "write", "*")
	slow.Rate = 0.05 // three pings a minute
	path, secrets := keysOf(t, slow, keyFor("free", "write", "*"))
	s, url, _ := guarded(t, gateOf(t, path, auth.Config{}))
	by := func(name string, ago int) answer {
		return send(t, "POST", url+"/v1/pings", []byte(onePing("r-"+name, ago)), "Authorization", "Bearer "+secrets[name])
	}
	for i := range 4 { // a ping more than the rate: a bucket that is not empty may owe
		if a := by("slow", 900-60*i); a.status != 200 {
			t.Fatalf("ping %d: %d %s", i, a.status, a.body)
		}
	}
	if a := by("slow", 60); a.status != 429 || !strings.Contains(a.body, "this key is over its rate") || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := by("free", 60); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := s.Stats().Received; n != 5 {
		t.Errorf("%d pings were received", n)
	}
}

// A stream ends when its key is revoked, before it tells of anything more.
func TestStreamsEndWithTheirKey(t *testing.T) {
	path, secrets := keysOf(t, keyFor("viewer", "read", "*"), keyFor("bike", "write", "*"))
	_, url, _ := guarded(t, gateOf(t, path, auth.Config{}))
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/stream?bbox=-9,41,-8,42&riders=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secrets["viewer"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if err := auth.ChangeKeys(path, func(keys []auth.KeyRow) ([]auth.KeyRow, error) { keys[0].Revoked = time.Now(); return keys, nil }); err != nil {
		t.Fatal(err)
	}
	until(t, "the key is refused", func() bool {
		return send(t, "GET", url+"/v1/partitions", nil, "Authorization", "Bearer "+secrets["viewer"]).status == 401
	})
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("late-rider", 5)), "Authorization", "Bearer "+secrets["bike"]); a.status != 200 {
		t.Fatal(a.status, a.body)
	}
	var told bytes.Buffer
	if _, err := told.ReadFrom(resp.Body); err != nil {
		t.Logf("the stream ended with %v", err)
	}
	if strings.Contains(told.String(), "late-rider") {
		t.Errorf("the stream told of a ping after its key was revoked: %s", told.String())
	}
}

// Pages of other origins may set Authorization, and no browser adds a cookie to their
// requests by itself, whatever the origins are.
func TestPagesShowKeysThemselves(t *testing.T) {
	path, secrets := keysOf(t, keyFor("all", "read", "*"))
	for _, origins := range [][]string{{"*"}, {"https://app.example.org"}} {
		_, url := testServer(t, Config{Gate: gateOf(t, path, auth.Config{}), CORSOrigins: origins, Reader: query.Sources{Partitions: func(string) (query.Partitions, error) { return query.Partitions{}, nil }}})
		const origin = "https://app.example.org"
		asks := send(t, "OPTIONS", url+"/v1/partitions", nil, "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
		if asks.status != 204 || asks.header.Get("Access-Control-Allow-Headers") != "authorization" {
			t.Errorf("%v: %d %v", origins, asks.status, asks.header)
		}
		for _, a := range []answer{
			asks, send(t, "GET", url+"/v1/partitions", nil, "Origin", origin),
			send(t, "GET", url+"/v1/partitions", nil, "Origin", origin, "Authorization", "Bearer "+secrets["all"]),
		} {
			if a.header.Get("Access-Control-Allow-Credentials") != "" || a.header.Get("Access-Control-Allow-Origin") == "" {
				t.Errorf("%v: %d %v", origins, a.status, a.header)
			}
		}
	}
}

// Keys that are shown in every way there is, right and wrong, are in no log line, note or
// answer.
func TestKeysAreNowhere(t *testing.T) {
	expired, revoked := keyFor("expired", "write,read", "*"), keyFor("revoked", "write,read", "*")
	expired.Expires, revoked.Revoked = time.Now().Add(-time.Second), time.Now()
	path, secrets := keysOf(t, expired, revoked, keyFor("all", "write,read", "*"), keyFor("ben", "write,read", "ben"))
	verifier, tokens := tokensOf(t)
	secrets["wrong"], _ = auth.NewSecret()
	secrets["token"], secrets["wrong token"] = tokens["token of ana"], tokens["token signed by another"]
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	routes := map[string]bool{}
	var said strings.Builder
	s, url := testServer(t, Config{
		Gate: gateOf(t, path, auth.Config{Logger: logger, Tokens: verifier}), Logger: logger, Reader: query.Sources{Partitions: func(string) (query.Partitions, error) { return query.Partitions{}, nil }},
		ObserveRequest: func(route string, _ int, _ time.Duration) { routes[route] = true },
	})
	for _, secret := range secrets {
		for _, header := range []string{"", "Bearer " + secret, "Basic " + base64.StdEncoding.EncodeToString([]byte("ana:"+secret)), "Digest " + secret, secret} {
			for _, target := range []string{"/v1/pings", "/v1/partitions", "/v1/nothing", "/" + secret, "/readyz", "//x"} {
				for _, query := range []string{"", "?key=" + secret, "?bbox=" + secret + "&key=" + secret} {
					for _, body := range []string{"", onePing("ana", 9), "{", `{"rider_id":7}`} {
						method := "POST"
						if body == "" {
							method = "GET"
						}
						var headers []string
						if header != "" {
							headers = []string{"Authorization", header}
						}
						a := send(t, method, url+target+query, []byte(body), headers...)
						if target != "/"+secret { // a path that is not there is told to its sender
							fmt.Fprintln(&said, a.status, a.header, a.body)
						}
					}
				}
			}
		}
		w := dial(t, s)
		w.say("GET /v1/partitions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nCookie: %s\r\n\r\n", secret, strings.Repeat("x", framing.HeadBytes))
		fmt.Fprintln(&said, w.hear().body)
		for _, broken := range []string{
			"GET /v1/partitions?key=%s HTTP/9.9\r\n\r\n", "GET /v1/partitions?key=%s\r\n\r\n", "GET%s\r\n\r\n", "%s\r\n\r\n", "GET /?key=%s HTTP/1.1\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer %s\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n Authorization: Bearer %s\r\n\r\n", "POST /v1/pings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n\r\n",
		} {
			w = dial(t, s)
			w.say(broken, secret)
			fmt.Fprintln(&said, w.hear().body)
		}
	}
	for name, secret := range secrets {
		half := secret[len(secret)-20:]
		hash := fmt.Sprintf("%v %v %v", routes, s.Stats(), s.cfg.Gate.Notes())
		for where, text := range map[string]string{"the log": log.String(), "an answer": said.String(), "the counters": hash} {
			if strings.Contains(text, half) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("ana:"+secret))) {
				at := strings.Index(text, half)
				t.Errorf("the key %s is in %s: %.200q", name, where, text[max(0, at-150):])
			}
		}
	}
	if !strings.Contains(log.String(), "a request was not let in") || !strings.Contains(said.String(), "401") {
		t.Error("nothing was refused")
	}
	t.Logf("%d bytes of log, %d bytes of answers, counts %v", log.Len(), said.Len(), s.Stats().Denied)
}

// The times of answers 401 and 403 over HTTP, for people: run it with -v.
func TestTimesOfRefusals(t *testing.T) {
	path, secrets := keysOf(t, keyFor("ana", "write", "ana"))
	_, url := testServer(t, Config{
		Gate: gateOf(t, path, auth.Config{}), TrustedProxies: trusted("127.0.0.0/8"),
		Reader: query.Sources{Partitions: func(string) (query.Partitions, error) { return query.Partitions{}, nil }},
	})
	right := secrets["ana"]
	near := []byte(right)
	near[len(near)-2] ^= 1
	random, _ := auth.NewSecret()
	kinds := []struct {
		name, secret string
		times        []float64 // µs
	}{{"right, without the scope", right, nil}, {"one letter wrong", string(near), nil}, {"random", random, nil}}
	rounds := 3000
	if testing.Short() {
		rounds = 100
	}
	for i := range rounds * len(kinds) {
		kind := &kinds[i%len(kinds)]
		began := time.Now()
		a := send(t, "GET", url+"/v1/partitions", nil, append(clientOf(i), "Authorization", "Bearer "+kind.secret)...)
		kind.times = append(kind.times, float64(time.Since(began))/1e3)
		if a.status != 401 && a.status != 403 {
			t.Fatal(kind.name, a.status)
		}
	}
	var means [3]float64
	for i := range kinds {
		slices.Sort(kinds[i].times)
		inner := kinds[i].times[len(kinds[i].times)/10 : len(kinds[i].times)*9/10]
		var sd float64
		for _, v := range inner {
			means[i] += v / float64(len(inner))
		}
		for _, v := range inner {
			sd += (v - means[i]) * (v - means[i]) / float64(len(inner))
		}
		t.Logf("%-24s median %.1f µs, trimmed mean %.1f ± %.1f µs", kinds[i].name, inner[len(inner)/2], means[i], math.Sqrt(sd))
	}
	t.Logf("right − random %.2f µs, one letter wrong − random %.2f µs", means[0]-means[2], means[1]-means[2])
}
