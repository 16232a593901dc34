package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"

	"pingline/ingest/auth"
)

// signer has a key of each kind.
type signer struct {
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	ed    ed25519.PrivateKey
	plain []byte
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	var s signer
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if s.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, s.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.plain = []byte("a secret of 32 bytes, or a little more")
	return &s
}

// jwks is the set of the signer's keys; suffix is the end of their names.
func (s *signer) jwks(suffix string) []byte {
	b := base64.RawURLEncoding.EncodeToString
	point, _ := s.ec.PublicKey.Bytes() // 4, x, y
	keys := []map[string]string{
		{"kty": "RSA", "kid": "rsa" + suffix, "use": "sig", "n": b(s.rsa.N.Bytes()), "e": b(big.NewInt(int64(s.rsa.E)).Bytes())},
		{"kty": "EC", "kid": "ec" + suffix, "crv": "P-256", "x": b(point[1:33]), "y": b(point[33:])},
		{"kty": "OKP", "kid": "ed" + suffix, "crv": "Ed25519", "x": b(s.ed.Public().(ed25519.PublicKey))},
		{"kty": "oct", "kid": "oct" + suffix, "alg": "HS256", "k": b(s.plain)},
	}
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return text
}

func sign(t *testing.T, method jwt.SigningMethod, kid string, key any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func config(jwks string) Config {
	return Config{fetch: 2 * time.Minute, again: time.Hour, JWKS: jwks, Issuer: "https://login.example.org", Audience: "pingline", RiderClaim: "sub", ScopeClaim: "scope", ScopePrefix: "pingline:", Skew: 30 * time.Second}
}

// claimsOf returns valid claims with changes; a nil removes one.
func claimsOf(changes jwt.MapClaims) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": "https://login.example.org", "aud": "pingline", "sub": "ana", "scope": "openid pingline:write pingline:read other:admin",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	for k, v := range changes {
		if v == nil {
			delete(claims, k)
		} else {
			claims[k] = v
		}
	}
	return claims
}

func opened(t *testing.T, cfg Config) *Verifier {
	t.Helper()
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- v.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	return v
}

func written(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokens(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	v := opened(t, config(written(t, s.jwks(""))))
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	fine := claimsOf(nil)
	pkix, err := x509.MarshalPKIXPublicKey(&s.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	rs := func(claims jwt.MapClaims) string { return sign(t, jwt.SigningMethodRS256, "rsa", s.rsa, claims) }
	parts := strings.Split(rs(fine), ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://login.example.org","aud":"pingline","sub":"ben","scope":"pingline:admin","exp":9999999999}`))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for _, tt := range []struct {
		name, token string
		why         auth.Cause
	}{
		{"RS256", rs(fine), ""},
		{"PS256", sign(t, jwt.SigningMethodPS256, "rsa", s.rsa, fine), ""},
		{"ES256", sign(t, jwt.SigningMethodES256, "ec", s.ec, fine), ""},
		{"EdDSA", sign(t, jwt.SigningMethodEdDSA, "ed", s.ed, fine), ""},
		{"HS256, by a secret of the file", sign(t, jwt.SigningMethodHS256, "oct", s.plain, fine), ""},
		{"no kid", sign(t, jwt.SigningMethodES256, "", s.ec, fine), ""},
		{"one audience of several", rs(claimsOf(jwt.MapClaims{"aud": []string{"other", "pingline"}})), ""},
		{"expired within the skew", rs(claimsOf(jwt.MapClaims{"exp": ago(10 * time.Second)})), ""},
		{"valid from within the skew", rs(claimsOf(jwt.MapClaims{"nbf": ago(-10 * time.Second)})), ""},

		{"expired", rs(claimsOf(jwt.MapClaims{"exp": ago(time.Minute)})), auth.Expired},
		{"expired, and signed by another", sign(t, jwt.SigningMethodRS256, "rsa", other.rsa, claimsOf(jwt.MapClaims{"exp": ago(time.Minute)})), auth.BadToken},
		{"not valid yet", rs(claimsOf(jwt.MapClaims{"nbf": ago(-time.Minute)})), auth.BadToken},
		{"no expiry", rs(claimsOf(jwt.MapClaims{"exp": nil})), auth.BadToken},
		{"an expiry that is none", rs(claimsOf(jwt.MapClaims{"exp": "soon"})), auth.BadToken},
		{"of another issuer", rs(claimsOf(jwt.MapClaims{"iss": "https://evil.example.org"})), auth.BadToken},
		{"of no issuer", rs(claimsOf(jwt.MapClaims{"iss": nil})), auth.BadToken},
		{"for another audience", rs(claimsOf(jwt.MapClaims{"aud": "other"})), auth.BadToken},
		{"for no audience", rs(claimsOf(jwt.MapClaims{"aud": nil})), auth.BadToken},
		{"signed by another", sign(t, jwt.SigningMethodRS256, "rsa", other.rsa, fine), auth.BadToken},
		{"of a key that is not known", sign(t, jwt.SigningMethodRS256, "nobody", s.rsa, fine), auth.BadToken},
		{"alg none", none + "." + forged + ".", auth.BadToken},
		{"alg none, with a signature", none + "." + forged + "." + parts[2], auth.BadToken},
		{"other claims under a signature", parts[0] + "." + forged + "." + parts[2], auth.BadToken},
		{"no signature", parts[0] + "." + parts[1] + ".", auth.BadToken},
		{"the public key for a secret, in PEM", sign(t, jwt.SigningMethodHS256, "rsa", publicPEM, fine), auth.BadToken},
		{"the public key for a secret, in DER", sign(t, jwt.SigningMethodHS256, "rsa", pkix, fine), auth.BadToken},
		{"the public key for a secret, without kid", sign(t, jwt.SigningMethodHS256, "", publicPEM, fine), auth.BadToken},
		{"the modulus for a secret", sign(t, jwt.SigningMethodHS256, "rsa", s.rsa.N.Bytes(), fine), auth.BadToken},
		{"HS512, and the key is for HS256", sign(t, jwt.SigningMethodHS512, "oct", s.plain, fine), auth.BadToken},
		{"a rider that cannot be", rs(claimsOf(jwt.MapClaims{"sub": " ana"})), auth.BadToken},
		{"nothing", "..", auth.BadToken},
		{"noise", "a.b.c", auth.BadToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, why := v.Check([]byte(tt.token), time.Now())
			if why != tt.why || (id == nil) != (why != "") {
				t.Fatalf("%+v, %q; want %q", id, why, tt.why)
			}
			if again := v.Cached([]byte(tt.token), time.Now()); again != id {
				t.Errorf("remembered as %+v", again)
			}
			if id != nil && (id.Name != "ana" || id.Scopes != auth.Write|auth.Read || !id.Riders.Has("ana") || id.Riders.Has("ben") || id.Rider != "ana") {
				t.Errorf("%+v", id)
			}
		})
	}
}

// The claims say riders and scopes; a name is never more than a name.
func TestClaims(t *testing.T) {
	s := newSigner(t)
	cfg := config(written(t, s.jwks("")))
	cfg.RiderClaim = "riders"
	v := opened(t, cfg)
	for _, tt := range []struct {
		name          string
		riders, scope any
		scopes        auth.Scope
		has           string // a rider, "" for none
		hasNot        string
	}{
		{"a list of riders", []string{"ana", "ben"}, "pingline:read", auth.Read, "ben", "cy"},
		{"a list of scopes", "ana", []string{"pingline:write", "pingline:admin"}, auth.Write | auth.Admin, "ana", "ben"},
		{"all riders", nil, "pingline:read pingline:all-riders", auth.Read, "anybody", ""},
		{"a star for a name", "*", "pingline:read", auth.Read, "*", "ana"},
		{"a prefix for a name", "an*", "pingline:read", auth.Read, "an*", "ana"},
		{"no riders", nil, "pingline:read", auth.Read, "", "ana"},
		{"no scopes", "ana", nil, 0, "ana", "ben"},
		{"scopes of others", "ana", "read write admin x:pingline:read", 0, "ana", "ben"},
		{"a number for riders", 7, "pingline:read", auth.Read, "", "7"},
	} {
		claims := claimsOf(jwt.MapClaims{"riders": tt.riders, "scope": tt.scope})
		id, why := v.Check([]byte(sign(t, jwt.SigningMethodES256, "ec", s.ec, claims)), time.Now())
		if why != "" || id.Scopes != tt.scopes || tt.has != "" && !id.Riders.Has(tt.has) || tt.hasNot != "" && id.Riders.Has(tt.hasNot) {
			t.Errorf("%s: %+v, %q", tt.name, id, why)
		}
	}
}

// Others may have the address of a client that shows wrong tokens: a right one is let in.
func TestRightTokenAmongWrongOnes(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	g := auth.NewGate(auth.Config{Tokens: opened(t, config(written(t, s.jwks(""))))})
	enter := func(token string) error {
		c := auth.HeaderCredentials([]byte("Bearer " + token))
		_, err := g.Enter(&c, auth.Client{Key: 1}, time.Now())
		return err
	}
	wrong := sign(t, jwt.SigningMethodEdDSA, "ed", other.ed, claimsOf(nil))
	for range 200 {
		if enter(wrong) == nil {
			t.Fatal("a wrong token was let in")
		}
	}
	if n := g.Stats()[auth.TooMany]; n == 0 {
		t.Error("no wrong token was one too many")
	}
	if err := enter(sign(t, jwt.SigningMethodEdDSA, "ed", s.ed, claimsOf(nil))); err != nil {
		t.Errorf("a right token behind wrong ones: %v", err)
	}
}

// A token is remembered for a minute at most, not beyond its expiry, and the memory is bounded.
func TestTokensAreForgotten(t *testing.T) {
	s := newSigner(t)
	cfg := config(written(t, s.jwks("")))
	v := opened(t, cfg)
	now := time.Now()
	long := []byte(sign(t, jwt.SigningMethodEdDSA, "ed", s.ed, claimsOf(nil)))
	short := []byte(sign(t, jwt.SigningMethodEdDSA, "ed", s.ed, claimsOf(jwt.MapClaims{"exp": now.Add(2 * time.Second).Unix()})))
	for _, token := range [][]byte{long, short} {
		if _, why := v.Check(token, now); why != "" {
			t.Fatal(why)
		}
	}
	if id := v.Cached(short, now.Add(20*time.Second)); id == nil || id.Ended(now.Add(20*time.Second)) || !id.Ended(now.Add(33*time.Second)) {
		t.Errorf("%+v", id)
	}
	if v.Cached(short, now.Add(33*time.Second)) != nil || v.Cached(long, now.Add(59*time.Second)) == nil || v.Cached(long, now.Add(61*time.Second)) != nil {
		t.Error("a token is remembered for too long, or not at all")
	}
	for i := range cacheMost + 100 {
		v.keep([32]byte{byte(i), byte(i >> 8)}, cached{})
	}
	if len(v.cache) > cacheMost {
		t.Errorf("%d tokens are remembered", len(v.cache))
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// The file is read again when it changes: tokens of keys that are gone are not even
// remembered. A broken file leaves the keys as they were, and a note says so.
func TestFileOfKeysRotates(t *testing.T) {
	first, second := newSigner(t), newSigner(t)
	path := written(t, first.jwks("-1"))
	v := opened(t, config(path))
	old := []byte(sign(t, jwt.SigningMethodES256, "ec-1", first.ec, claimsOf(nil)))
	next := []byte(sign(t, jwt.SigningMethodES256, "ec-2", second.ec, claimsOf(nil)))
	valid := func(token []byte) bool { _, why := v.Check(token, time.Now()); return why == "" }
	if !valid(old) || valid(next) {
		t.Fatal("the first key is not known, or the second is")
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "a note", func() bool { return len(v.Notes()) == 1 })
	if !valid(old) {
		t.Error("a broken file has taken the keys")
	}
	if err := os.WriteFile(path, second.jwks("-2"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the second key counts", func() bool { return valid(next) })
	until(t, "the note is gone", func() bool { return len(v.Notes()) == 0 })
	if v.Cached(old, time.Now()) != nil || valid(old) {
		t.Error("a token of a key that is gone is valid")
	}
}

// Keys at a URL: asked again for a key that is not known, not more often than is
// allowed; no secret of the set counts; while it is away the keys stay.
func TestKeysAtAURL(t *testing.T) {
	s := newSigner(t)
	var asked atomic.Int32
	var broken atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(s.jwks(""))
	}))
	defer server.Close()
	v := opened(t, config(server.URL))
	good := []byte(sign(t, jwt.SigningMethodRS256, "rsa", s.rsa, claimsOf(nil)))
	if _, why := v.Check(good, time.Now()); why != "" {
		t.Fatal(why)
	}
	if _, why := v.Check([]byte(sign(t, jwt.SigningMethodHS256, "oct", s.plain, claimsOf(nil))), time.Now()); why != auth.BadToken {
		t.Errorf("a secret that was at a URL: %q", why)
	}
	broken.Store(true)
	unknown := []byte(sign(t, jwt.SigningMethodRS256, "unknown", s.rsa, claimsOf(nil)))
	for range 20 {
		if _, why := v.Check(unknown, time.Now()); why != auth.BadToken {
			t.Errorf("a key that is not known: %q", why)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	if len(v.Notes()) != 1 {
		t.Errorf("notes: %q", v.Notes())
	}
	if _, why := v.Check(good, time.Now()); why != "" {
		t.Errorf("the keys are gone with their URL: %q", why)
	}
}

// Who showed a token is let in, also to a stream that goes on, as long as the keys are those
// by which the token was checked.
func TestSenderEndsWithTheKeys(t *testing.T) {
	first, second := newSigner(t), newSigner(t)
	var now atomic.Pointer[[]byte]
	set := func(text []byte) { now.Store(&text) }
	set(first.jwks(""))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*now.Load()) }))
	defer server.Close()
	path := written(t, first.jwks(""))
	for _, from := range []string{server.URL, path} {
		v := opened(t, config(from))
		id, why := v.Check([]byte(sign(t, jwt.SigningMethodRS256, "rsa", first.rsa, claimsOf(nil))), time.Now())
		if why != "" || id.Ended(time.Now()) {
			t.Fatalf("%s: %q", from, why)
		}
		set(second.jwks("-2"))
		if err := os.WriteFile(path, second.jwks("-2"), 0o600); err != nil {
			t.Fatal(err)
		}
		next := []byte(sign(t, jwt.SigningMethodRS256, "rsa-2", second.rsa, claimsOf(nil))) // a URL is asked for a key that is not known
		// Keys of a file count a moment before those of before end: who is let in then ends with them.
		until(t, "the second key counts, and the first has ended, at "+from, func() bool {
			nextID, why := v.Check(next, time.Now())
			return why == "" && id.Ended(time.Now()) && !nextID.Ended(time.Now())
		})
		set(first.jwks(""))
		if err := os.WriteFile(path, first.jwks(""), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A token is let in by no keys of before, however often it is shown while those of a URL
// change. The set is large, so that it takes a while to be read.
func TestNoTokenOutlivesTheKeysOfAURL(t *testing.T) {
	first, second := newSigner(t), newSigner(t)
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(second.jwks("-2"), &set); err != nil {
		t.Fatal(err)
	}
	ec := string(set.Keys[1])
	for i := range 4000 { // of unlike names, as keys of a set are
		set.Keys = append(set.Keys, json.RawMessage(strings.Replace(ec, "ec-2", strconv.Itoa(i), 1)))
	}
	large, err := json.Marshal(set)
	if err != nil || len(large) > setMost {
		t.Fatal(len(large), err)
	}
	var turned atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if turned.Load() {
			_, _ = w.Write(large)
			return
		}
		_, _ = w.Write(first.jwks("-1"))
	}))
	defer server.Close()
	v := opened(t, config(server.URL))
	old := []byte(sign(t, jwt.SigningMethodEdDSA, "ed-1", first.ed, claimsOf(nil)))
	next := []byte(sign(t, jwt.SigningMethodEdDSA, "ed-2", second.ed, claimsOf(nil)))
	let := func(token []byte) bool { // as a gate does
		if v.Cached(token, time.Now()) != nil {
			return true
		}
		_, why := v.Check(token, time.Now())
		return why == ""
	}
	if !let(old) {
		t.Fatal("the first key is not known")
	}
	stop, shown := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				shown <- n
				return
			default:
				let(old)
			}
		}
	}()
	turned.Store(true)
	if !let(next) {
		t.Error("the second key is not known")
	}
	close(stop)
	t.Logf("the old token was shown %d times meanwhile", <-shown)
	if let(old) {
		t.Error("a token of a key that is gone is let in")
	}
}

// A check that began by the keys of before and ends by those of now leaves nothing behind.
func TestEndedTokenIsNotRemembered(t *testing.T) {
	s := newSigner(t)
	v := opened(t, config(written(t, s.jwks(""))))
	token := []byte(sign(t, jwt.SigningMethodEdDSA, "ed", s.ed, claimsOf(nil)))
	before := v.past.Load()
	v.changed([]byte("other keys"))
	if id, why := v.check(token, before, time.Now()); why != "" || !id.Ended(time.Now()) {
		t.Fatalf("%+v, %q", id, why)
	}
	if id := v.Cached(token, time.Now()); id != nil {
		t.Errorf("%+v is remembered", id)
	}
}

// A real provider of OpenID Connect: a user signs in, and the token that it gives is valid
// here, and for nobody else.
func TestProviderOfOpenIDConnect(t *testing.T) {
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Shutdown()
	cfg := config(m.JWKSEndpoint())
	cfg.Issuer, cfg.Audience, cfg.RiderClaim, cfg.ScopeClaim, cfg.ScopePrefix = m.Issuer(), m.ClientID, "preferred_username", "groups", "riders-"
	v := opened(t, cfg)
	m.QueueUser(&mockoidc.MockUser{Subject: "1234", PreferredUsername: "ana", Groups: []string{"riders-write", "staff"}})

	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(m.AuthorizationEndpoint() + "?" + url.Values{
		"client_id": {m.ClientID}, "scope": {"openid profile groups"}, "response_type": {"code"}, "redirect_uri": {"http://localhost/"}, "state": {"s"}, "nonce": {"n"},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		t.Fatal(resp.Status, err)
	}
	resp, err = http.PostForm(m.TokenEndpoint(), url.Values{
		"client_id": {m.ClientID}, "client_secret": {m.ClientSecret}, "grant_type": {"authorization_code"}, "code": {at.Query().Get("code")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var given struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &given); err != nil || given.IDToken == "" {
		t.Fatalf("%s: %v", body, err)
	}
	id, why := v.Check([]byte(given.IDToken), time.Now())
	if why != "" || id.Name != "1234" || id.Scopes != auth.Write || id.Riders.Only() != "ana" {
		t.Errorf("%+v, %q", id, why)
	}
	elsewhere := cfg
	elsewhere.Audience = "another"
	if _, why := opened(t, elsewhere).Check([]byte(given.IDToken), time.Now()); why != auth.BadToken {
		t.Errorf("for another audience: %q", why)
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		flag   string
	}{
		{"complete", func(*Config) {}, ""},
		{"no keys", func(c *Config) { c.JWKS = "" }, "jwt-jwks"},
		{"no host", func(c *Config) { c.JWKS = "https:///x" }, "jwt-jwks"},
		{"no issuer", func(c *Config) { c.Issuer = "" }, "jwt-issuer"},
		{"no audience", func(c *Config) { c.Audience = "" }, "jwt-audience"},
		{"a skew below 0", func(c *Config) { c.Skew = -1 }, "jwt-skew"},
	} {
		cfg := config("f")
		tt.change(&cfg)
		if flag, err := cfg.Check(); flag != tt.flag || (err != nil) != (flag != "") {
			t.Errorf("%s: %q, %v", tt.name, flag, err)
		}
	}
	if _, err := New(config(written(t, []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"`)))); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("a broken file: %v", err)
	}
}
