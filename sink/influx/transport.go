package influx

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"pingline/sink/store"
)

// transport carries requests to an InfluxDB, and does several things that the
// client library does not: it looks up the token for each request, compresses
// bodies, does not follow redirects, and turns an answer other than the
// expected into an *AnswerError with its full text.
type transport struct {
	client    *http.Client
	secure    *tls.Config // settings of connections
	token     string
	tokenFile string
	headers   []ProxyHeader
	logger    *slog.Logger
	gzips     sync.Pool   // of *gzip.Writer
	local     bool        // no body is compressed: the server is on this machine
	plain     atomic.Bool // no body is compressed: the server, or a proxy, refuses that
}

// dialTime is how long it may take to connect.
const dialTime = 5 * time.Second

func newTransport(c *Config, host string) *transport {
	secure := c.tls(host)
	return &transport{
		secure:    secure.Clone(), // net/http changes its own
		token:     c.Token,
		tokenFile: c.TokenFile,
		headers:   c.Headers,
		logger:    c.Logger,
		local:     !c.Compress && isLocal(host),
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
				TLSHandshakeTimeout: 5 * time.Second,
				TLSClientConfig:     secure,
				ForceAttemptHTTP2:   true,
				DisableCompression:  true, // of answers: it halves the speed of a large query
				MaxIdleConnsPerHost: 8,
				IdleConnTimeout:     90 * time.Second,
			},
		},
	}
}

// isLocal reports whether a host is this machine, where to compress and to inflate costs
// more than to send four times the bytes.
func isLocal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Do sends a write of the client library. Only 204 is success: a web server that
// answers 200 to everything must not pass for a store. If a body is refused for its
// compression (415), it is sent again uncompressed, and later bodies are not
// compressed at all.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if t.local || t.plain.Load() {
		setBody(req, text)
		return t.expect(req, http.StatusNoContent)
	}
	if err := t.compress(req, text); err != nil {
		return nil, err
	}
	resp, err := t.expect(req, http.StatusNoContent)
	if refused := new(AnswerError); !errors.As(err, &refused) || refused.Status != http.StatusUnsupportedMediaType {
		return resp, err
	}
	again := req.Clone(req.Context())
	again.Header.Del("Content-Encoding")
	setBody(again, text)
	resp, plainErr := t.expect(again, http.StatusNoContent)
	if refused := new(AnswerError); errors.As(plainErr, &refused) && refused.Status == http.StatusUnsupportedMediaType {
		return nil, err // the compression is not the cause
	}
	if t.plain.CompareAndSwap(false, true) {
		t.logger.Warn("compressed writes are refused with 415: from now on writes are not compressed", "url", req.URL.Host)
	}
	return resp, plainErr
}

// roundTrip sends any other request; success is 200 or 204.
func (t *transport) roundTrip(req *http.Request) (*http.Response, error) {
	return t.expect(req, http.StatusOK, http.StatusNoContent)
}

func (t *transport) expect(req *http.Request, statuses ...int) (*http.Response, error) {
	token, err := t.currentToken()
	if err != nil {
		return nil, err
	}
	for _, h := range t.headers {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		}
		req.Header.Set(h.Name, h.Value)
	}
	if token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, t.explain(req, err)
	}
	for _, s := range statuses {
		if resp.StatusCode == s {
			return resp, nil
		}
	}
	defer func() { _ = resp.Body.Close() }() // the body was read as far as needed
	return nil, readAnswer(resp, t.hide(token))
}

// leastSecret is the length from which on a value is taken for a secret; a shorter one is
// likely to be a word of an answer.
const leastSecret = 6

// hide returns a replacer that takes the token, and the values of further headers, out of a text.
func (t *transport) hide(token string) *strings.Replacer {
	var pairs []string
	add := func(secret string) {
		if len(secret) >= leastSecret {
			pairs = append(pairs, secret, "…")
		}
	}
	add(token)
	for _, h := range t.headers {
		add(h.Value)
		// Behind a word such as Bearer: a proxy may quote the secret alone.
		add(h.Value[strings.LastIndexByte(h.Value, ' ')+1:])
	}
	return strings.NewReplacer(pairs...)
}

// currentToken reads the token file each time: that costs microseconds, and a
// changed token is used at once.
func (t *transport) currentToken() (string, error) {
	if t.tokenFile == "" {
		return t.token, nil
	}
	b, err := os.ReadFile(t.tokenFile)
	if err != nil {
		return "", &AnswerError{Kind: store.Configure, Message: fmt.Sprintf("token file: %v", err), err: err}
	}
	token := strings.TrimSpace(string(b))
	if strings.ContainsFunc(token, isControl) {
		return "", &AnswerError{Kind: store.Configure, Message: fmt.Sprintf("token file %s holds more than one line", t.tokenFile)}
	}
	return token, nil
}

// isControl reports whether no header may have the character r.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// compress replaces req's body by its gzip form and sets its length, since 1.8
// checks max-body-size against the length alone. The buffer is not reused,
// since the transport may still read it after the answer.
func (t *transport) compress(req *http.Request, text []byte) error {
	w, _ := t.gzips.Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return err
		}
	}
	defer t.gzips.Put(w)
	packed := bytes.NewBuffer(make([]byte, 0, 512+len(text)/3))
	w.Reset(packed)
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("compress body: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("compress body: %w", err)
	}
	setBody(req, packed.Bytes())
	req.Header.Set("Content-Encoding", "gzip")
	return nil
}

// setBody gives req a body that can be sent more than once.
func setBody(req *http.Request, body []byte) {
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	req.ContentLength = int64(len(body))
}
