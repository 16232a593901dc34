// Package token checks signed tokens: JSON Web Tokens (RFC 7519) of an OpenID Connect
// provider, or of anybody else whose keys are known.
//
// The keys are a JSON Web Key Set, in a file that is read again when it changes, or at a
// URL that is asked again every hour, and when a token names a key that is not known. A
// token has to be signed by one of them, be for our audience, be of our issuer, and have an
// expiry. Its claims say who it is of, and the rights of that sender. A token that is signed
// by nobody, or with a public key for a secret, is never valid, whatever its head says. The
// package revokes nothing: a token is valid until it expires, or its key is gone.
package token

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"pingline/ingest/auth"
)

// Config says which tokens are valid, and the meaning of their claims. JWKS, Issuer and Audience
// are required.
type Config struct {
	JWKS     string // file, or URL, of the JSON Web Key Set
	Issuer   string // iss
	Audience string // one of aud

	RiderClaim  string        // has the rider's name, or a list of names
	ScopeClaim  string        // has the scopes: words with spaces between, or a list
	ScopePrefix string        // of the words write, read, admin and all-riders
	Skew        time.Duration // by which clocks may differ

	Logger *slog.Logger // nil: no log

	fetch time.Duration // longest time that a request waits for keys of a URL; 0 means fetchTime
	again time.Duration // between two times that they are asked for a key that is not known; 0 means refreshSoon
}

// IsURL reports whether the keys are at a URL, and not in a file.
func (c *Config) IsURL() bool {
	return strings.HasPrefix(c.JWKS, "http://") || strings.HasPrefix(c.JWKS, "https://")
}

// Check returns the flag of the first setting that is wrong, and why it is.
func (c *Config) Check() (flag string, err error) {
	for _, f := range []struct{ flag, value string }{{"jwt-jwks", c.JWKS}, {"jwt-issuer", c.Issuer}, {"jwt-audience", c.Audience}, {"jwt-rider-claim", c.RiderClaim}, {"jwt-scope-claim", c.ScopeClaim}} {
		if f.value == "" {
			return f.flag, errors.New("is needed by --auth jwt")
		}
	}
	if u, err := url.Parse(c.JWKS); c.IsURL() && (err != nil || u.Host == "") {
		return "jwt-jwks", errors.New("is neither a file nor a URL such as https://login.example.org/keys")
	}
	if c.Skew < 0 || c.Skew > time.Hour {
		return "jwt-skew", fmt.Errorf("%v is not in [0s, 1h]", c.Skew)
	}
	return "", nil
}

const (
	fileEvery   = time.Second      // how often the file is looked at
	refresh     = time.Hour        // how often the URL is asked
	refreshSoon = 10 * time.Second // how often it is asked at most for keys that are not known
	fetchTime   = 2 * time.Second  // longest time that a request waits for that
	cacheFor    = time.Minute      // longest time for which a token is not checked again
	cacheMost   = 10_000           // tokens
	setMost     = 1 << 20          // bytes of a set of keys
	nameMost    = 128              // bytes of a name in the log
)

// allRiders is the word among the scopes for all riders.
const allRiders = "all-riders"

// Methods that check a signature by a public key, and by a secret. A set at a URL has no
// secrets: whoever asks for it would have them.
var (
	public = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	secret = []string{"HS256", "HS384", "HS512"}
)

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	cfg    Config
	parser *jwt.Parser
	keys   atomic.Pointer[keyfunc.Keyfunc]
	note   atomic.Pointer[string]      // why the keys cannot be had now, or ""
	end    context.CancelFunc          // of asking the URL
	past   atomic.Pointer[atomic.Bool] // set once the keys of now are those of before

	mu    sync.Mutex        // guards the fields below; nothing else is locked under it
	sum   [sha256.Size]byte // of the set that was read last
	cache map[[sha256.Size]byte]cached
}

type cached struct {
	id    *auth.Identity
	until time.Time
}

// New returns a Verifier. A file has to be there; a URL need not answer yet.
func New(cfg Config) (*Verifier, error) {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.fetch, cfg.again = cmp.Or(cfg.fetch, fetchTime), cmp.Or(cfg.again, refreshSoon)
	methods := public
	if !cfg.IsURL() {
		methods = append(methods[:len(methods):len(methods)], secret...)
	}
	v := &Verifier{
		cfg: cfg, cache: make(map[[sha256.Size]byte]cached), end: func() {},
		parser: jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
			jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Skew)),
	}
	v.note.Store(new(string))
	v.past.Store(new(atomic.Bool))
	if !cfg.IsURL() {
		return v, v.read()
	}
	if strings.HasPrefix(cfg.JWKS, "http://") {
		cfg.Logger.Warn("whoever is between us and the URL of keys for tokens may choose the keys: use https", "url", cfg.JWKS)
	}
	ctx, end := context.WithCancel(context.Background())
	keys, err := v.ask(ctx)
	if err != nil {
		end()
		return nil, err
	}
	v.end = end
	v.keys.Store(&keys)
	return v, nil
}

// ask returns the keys of the URL, which are asked for at once, now and then, and for a key that
// is not known.
func (v *Verifier) ask(ctx context.Context) (keyfunc.Keyfunc, error) {
	at, err := jwkset.NewStorageFromHTTP(v.cfg.JWKS, jwkset.HTTPClientStorageOptions{
		Client:                    &http.Client{Transport: bounded{}, CheckRedirect: noDowngrade},
		Ctx:                       ctx,
		HTTPTimeout:               v.cfg.fetch,
		NoErrorReturnFirstHTTPReq: true,
		RefreshErrorHandler:       func(_ context.Context, err error) { v.trouble(err) },
		RefreshInterval:           refresh,
		Storage:                   &replaced{jwkset.NewMemoryStorage(), v},
	})
	if err != nil {
		return nil, err
	}
	client, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{v.cfg.JWKS: at},
		RateLimitWaitMax:  v.cfg.fetch,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(v.cfg.again), 1),
	})
	if err != nil {
		return nil, err
	}
	return keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: client})
}

// replaced are the keys of a URL as it answered last.
type replaced struct {
	*jwkset.MemoryJWKSet
	of *Verifier
}

// KeyReplaceAll is called with each set that could be read. The tokens that the keys of before
// have let in end once these are gone, and no sooner: until then they would be let in again.
func (r *replaced) KeyReplaceAll(ctx context.Context, keys []jwkset.JWK) error {
	list := make([]jwkset.JWKMarshal, len(keys))
	for i := range keys {
		list[i] = keys[i].Marshal()
	}
	set, err := json.Marshal(list)
	if err = errors.Join(err, r.MemoryJWKSet.KeyReplaceAll(ctx, keys)); err != nil {
		return err
	}
	r.of.trouble(nil)
	r.of.changed(set)
	return nil
}

func noDowngrade(r *http.Request, via []*http.Request) error {
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" || len(via) > 5 {
		return errors.New("a redirection from https to http, or too many")
	}
	return nil
}

// bounded asks a URL, and reads no more than a set may have.
type bounded struct{}

// RoundTrip is called by the HTTP client.
func (bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, setMost))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// trouble notes why the keys cannot be had, or that they can.
func (v *Verifier) trouble(err error) {
	note := ""
	if err != nil {
		note = fmt.Sprintf("--jwt-jwks: the keys for tokens stay as they were: %v", err)
	}
	if was := *v.note.Swap(&note); err != nil && was != note {
		v.cfg.Logger.Error("the keys for tokens stay as they were", "error", err)
	}
}

// read takes the keys of the file, if it has changed.
func (v *Verifier) read() error {
	text, err := os.ReadFile(v.cfg.JWKS)
	if err != nil {
		return err
	}
	v.mu.Lock()
	same := sha256.Sum256(text) == v.sum
	v.mu.Unlock()
	if same {
		return nil
	}
	keys, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return fmt.Errorf("%s is no JSON Web Key Set", v.cfg.JWKS) // the cause may quote a secret
	}
	v.keys.Store(&keys)
	v.changed(text)
	return nil
}

// changed has all tokens checked again, and streams of their senders ended, if a set of keys
// is not that of before: a key may be gone.
func (v *Verifier) changed(set []byte) {
	sum := sha256.Sum256(set)
	v.mu.Lock()
	defer v.mu.Unlock()
	if sum == v.sum {
		return
	}
	v.sum = sum
	clear(v.cache)
	v.past.Swap(new(atomic.Bool)).Store(true)
}

// Run keeps the keys as they are outside, until ctx is cancelled.
func (v *Verifier) Run(ctx context.Context) error {
	defer v.end()
	tick := time.NewTicker(fileEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !v.cfg.IsURL() {
				v.trouble(v.read())
			}
		}
	}
}

// Notes returns a sentence if the keys cannot be had.
func (v *Verifier) Notes() []string {
	if note := *v.note.Load(); note != "" {
		return []string{note}
	}
	return nil
}

// Cached returns who a token is of, if it was checked within the last minute.
func (v *Verifier) Cached(token []byte, now time.Time) *auth.Identity {
	sum := sha256.Sum256(token)
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.cache[sum]
	if !ok {
		return nil
	}
	if !now.Before(c.until) || c.id.Ended(now) { // ended: it was checked while the keys changed
		delete(v.cache, sum)
		return nil
	}
	return c.id
}

// Check returns who a token is of, or why it lets nobody in.
func (v *Verifier) Check(token []byte, now time.Time) (*auth.Identity, auth.Cause) {
	for {
		past := v.past.Load()
		id, why := v.check(token, past, now)
		if id == nil || !past.Load() { // else the keys have changed meanwhile, it may be for this token
			return id, why
		}
	}
}

// check is Check by the keys of now, which are no older than past.
func (v *Verifier) check(token []byte, past *atomic.Bool, now time.Time) (*auth.Identity, auth.Cause) {
	keys := *v.keys.Load()
	var claims jwt.MapClaims
	if _, err := v.parser.ParseWithClaims(string(token), &claims, keys.Keyfunc); err != nil {
		if errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			return nil, auth.Expired
		}
		return nil, auth.BadToken
	}
	id, until, err := v.identity(claims, past)
	if err != nil {
		return nil, auth.BadToken
	}
	v.keep(sha256.Sum256(token), cached{id, earlier(until, now.Add(cacheFor))})
	return id, ""
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// keep remembers a token. If there are too many, some other tokens are checked again.
func (v *Verifier) keep(sum [sha256.Size]byte, c cached) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for other := range v.cache {
		if len(v.cache) < cacheMost {
			break
		}
		delete(v.cache, other)
	}
	v.cache[sum] = c
}

// identity reads the claims of a token that is valid, and until when they hold; past is set
// once the keys are others.
func (v *Verifier) identity(claims jwt.MapClaims, past *atomic.Bool) (*auth.Identity, time.Time, error) {
	exp, err := claims.GetExpirationTime()
	if err != nil {
		return nil, time.Time{}, err
	}
	until := exp.Add(v.cfg.Skew)
	var scopes auth.Scope
	all := false
	for _, word := range words(claims[v.cfg.ScopeClaim], strings.Fields) {
		name, ours := strings.CutPrefix(word, v.cfg.ScopePrefix)
		if !ours {
			continue
		}
		if all = all || name == allRiders; name == allRiders {
			continue
		}
		if one, err := auth.ScopeOf(name); err == nil { // other words are of other services
			scopes |= one
		}
	}
	riders := auth.Everyone
	if !all {
		// A name is exact: users of a provider may choose theirs, and a * in it.
		names := words(claims[v.cfg.RiderClaim], func(s string) []string { return []string{s} })
		if riders, err = auth.ExactRiders(names...); err != nil {
			return nil, until, err
		}
	}
	sub, _ := claims.GetSubject()
	sub = strings.ToValidUTF8(sub[:min(len(sub), nameMost)], "")
	return auth.NewIdentity(sub, scopes, riders, until, past), until, nil
}

// words returns the texts of a claim: of a list, or of a text by split.
func words(claim any, split func(string) []string) (list []string) {
	switch claim := claim.(type) {
	case string:
		return split(claim)
	case []any:
		for _, v := range claim {
			if text, ok := v.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}
