// Package visitors lets the phones of visitors send to a demo, by its page for phones.
//
// Browsers give positions to pages of https: alone, so the demo, which speaks plain HTTP on the
// machine itself, has a second address: TLS, by a certificate that is made at the start and that
// nobody vouches for, so that each phone warns once. It passes on the page and what it sends, of
// whoever has the key that is in the code to be scanned; reads, the map and all else stay on the
// machine. It gives out no code that leads nowhere, as far as that can be known: see reach.
package visitors

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"

	"pingline/dashboards/phone"
)

// Config sets up an Entrance.
type Config struct {
	Listen string // host:port; without a host all addresses of the machine
	To     string // URL of the node
}

// Entrance is where visitors' phones reach a demo. A nil Entrance is none.
type Entrance struct {
	ln   net.Listener
	to   *url.URL
	key  string
	host string // of links, with the port; "" if no phone reaches this machine
	why  string // there is no host
	cert *certificate
}

// Open listens, or returns an error that begins with the flag.
func Open(cfg Config) (*Entrance, error) {
	if !phone.Built() {
		return &Entrance{why: phone.ErrNotBuilt.Error()}, nil
	}
	to, err := url.Parse(cfg.To)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 15)
	_, _ = rand.Read(secret) // never fails
	a := &Entrance{to: to, key: strings.ToLower(base32.StdEncoding.EncodeToString(secret))}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--phone-listen: %w", err)
	}
	ip, why := reach(ln.Addr().(*net.TCPAddr).IP, here())
	if a.why = why; why == "" {
		a.host = net.JoinHostPort(ip.String(), fmt.Sprint(ln.Addr().(*net.TCPAddr).Port))
	}
	if a.cert, err = newCertificate(ip, time.Now()); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	a.ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.cert.pair}, NextProtos: []string{"http/1.1"}})
	return a, nil
}

// link returns the address of the page for a host, with all that a visitor's phone needs to
// know; each phone takes a name of its own.
func (a *Entrance) link(host string) string {
	return "https://" + host + phone.At + "#rider=guest-*&key=" + a.key
}

// Print writes the code to be scanned, and what to do then; or why there is none. Its lines
// have at most 80 characters.
func (a *Entrance) Print(w io.Writer) {
	if a == nil {
		return
	}
	if a.host == "" {
		fmt.Fprintf(w, "phone     no code to scan:\n          %s\n", a.why)
		if a.ln != nil {
			_, port, _ := net.SplitHostPort(a.ln.Addr().String()) // a listener's is well formed
			fmt.Fprintf(w, "          If phones reach the port by another HOST, open there\n          %s\n", a.link("HOST:"+port))
		}
		return
	}
	fmt.Fprintf(w, "phone     https://%s%s\n\n", a.host, phone.At)
	qrterminal.GenerateHalfBlock(a.link(a.host), qrterminal.L, w)
	fmt.Fprintf(w, `
Scan it with a phone in the network of this machine, and search the map for the
name that it shows: guest-…. The phone warns first, because nobody vouches for
the certificate, which this demo has made for itself: go on, press Start, and
allow the location. Its fingerprint, a SHA-256, begins with
%s.

`, a.cert.fingerprint)
}

// Run answers until ctx is cancelled, and returns nil then.
func (a *Entrance) Run(ctx context.Context) error {
	if a == nil || a.ln == nil {
		return nil
	}
	server := &http.Server{
		Handler: a.routes(), ErrorLog: log.New(io.Discard, "", 0), // phones break off handshakes
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(a.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %v: %w", a.ln.Addr(), err)
	case <-ctx.Done():
	}
	if err := server.Close(); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close closes the address, also of a demo that does not run.
func (a *Entrance) Close() error {
	if a == nil || a.ln == nil {
		return nil
	}
	if err := a.ln.Close(); !errors.Is(err, net.ErrClosed) { // by Run
		return err
	}
	return nil
}

// routes passes on the page, and the pings of who has the key.
func (a *Entrance) routes() http.Handler {
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(a.to)
			r.Out.Header.Del("Authorization") // it was for this address
		},
		ErrorLog: log.New(io.Discard, "", 0), // the node ends before
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+phone.At, pass)
	mux.Handle("GET "+phone.At+"/", pass)
	mux.HandleFunc("POST /v1/pings", func(w http.ResponseWriter, r *http.Request) {
		shown, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(shown), []byte(a.key)) == 1 {
			pass.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"the key is of another demo: scan the code again"}`)
	})
	mux.Handle("GET /{$}", http.RedirectHandler(phone.At, http.StatusFound))
	return mux
}
