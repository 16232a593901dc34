// Package access has the settings of who may send and read, and makes the gate of them.
//
// It also guards routes that are not the server's own, such as those for metrics. The
// package decides nothing about a request: package auth does.
package access

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/auth/token"
	"pingline/ingest/auth/trail"
	"pingline/ingest/privacy"
)

// Settings say who may send and read.
type Settings struct {
	Ways []string // "keys", "jwt", "cert"; "none" or nothing: everybody
	Keys string   // file of keys
	JWT  token.Config

	AuditLog string // file of the audit trail; "": none
}

// With reports whether senders are let in by a way.
func (s *Settings) With(way string) bool { return slices.Contains(s.Ways, way) }

// On reports whether senders have to show anything.
func (s *Settings) On() bool { return len(s.Ways) > 0 && !s.With("none") }

// Check returns the flag of the first setting that is wrong, and why it is.
func (s *Settings) Check() (flag string, err error) {
	for i, way := range s.Ways {
		switch {
		case !slices.Contains([]string{"none", "keys", "jwt", "cert"}, way):
			return "auth", fmt.Errorf("%q is not none, keys, jwt or cert", way)
		case slices.Contains(s.Ways[:i], way):
			return "auth", fmt.Errorf("%s is there twice", way)
		case way == "none" && len(s.Ways) > 1:
			return "auth", errors.New("none is there with others")
		}
	}
	if s.With("keys") != (s.Keys != "") {
		return "keys", errors.New("and --auth keys: give both or neither")
	}
	if s.AuditLog != "" && !s.On() {
		return "audit-log", errors.New("tells keys, and --auth none has none")
	}
	switch {
	case s.With("jwt"):
		return s.JWT.Check()
	case s.JWT.JWKS != "":
		return "jwt-jwks", errors.New("and --auth jwt: give both or neither")
	}
	return "", nil
}

// Open returns the gate, or nil if everybody may send and read. Names are those by which
// riders are stored.
func (s *Settings) Open(names *privacy.Pseudonyms, logger *slog.Logger) (*auth.Gate, error) {
	if !s.On() {
		return nil, nil
	}
	cfg := auth.Config{Names: names, Logger: logger}
	if s.With("keys") {
		keys, err := auth.OpenKeyRing(s.Keys, logger)
		if err != nil {
			return nil, fmt.Errorf("--keys: %w", err)
		}
		cfg.Keys = keys
	}
	if s.With("jwt") {
		c := s.JWT
		c.Logger = logger
		tokens, err := token.New(c)
		if err != nil {
			return nil, fmt.Errorf("--jwt-jwks: %w", err)
		}
		cfg.Tokens = tokens
	}
	if s.AuditLog != "" {
		t, err := trail.Open(s.AuditLog, logger)
		if err != nil {
			return nil, fmt.Errorf("--audit-log: %w", err)
		}
		cfg.Failed, cfg.Read, cfg.Removed = t.Failed, t.Read, t.Removed
	}
	return auth.NewGate(cfg), nil
}

// Notes returns a sentence for each trouble that an operator must know of. Without a gate
// it is that everybody may do everything, if the server can be reached from elsewhere; with
// certified, everybody who has a client certificate.
func Notes(gate *auth.Gate, at net.Addr, certified bool) []string {
	switch {
	case gate != nil:
		return gate.Notes()
	case certified:
		return []string{"--auth none: whoever has a certificate of --tls-client-ca may send for every rider, and read every track"}
	case !Loopback(at):
		return []string{fmt.Sprintf("--auth none: whoever reaches %v may send for every rider, and read every track", at)}
	}
	return nil
}

// Loopback reports whether an address is the machine's own.
func Loopback(at net.Addr) bool {
	addr, err := netip.ParseAddrPort(at.String())
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// Guard lets requests pass whose sender has the scope admin for all riders, on an address
// that can be reached from elsewhere. On another, or without a gate, it asks nobody, and
// returns nil.
func Guard(gate *auth.Gate) func(at net.Addr) func(next http.Handler) http.Handler {
	return func(at net.Addr) func(next http.Handler) http.Handler {
		if gate == nil || Loopback(at) {
			return nil
		}
		return func(next http.Handler) http.Handler { return guarded(gate, next) }
	}
}

// Visitor is who sends a request, and from where.
type Visitor struct {
	*auth.Identity
	Client netip.Addr
}

type senderOf struct{} // key of the value in a request's context

// Of returns who sends a request on a listener of Guard; where it asks nobody, somebody
// without a name.
func Of(r *http.Request) Visitor {
	if s, ok := r.Context().Value(senderOf{}).(Visitor); ok {
		return s
	}
	return Visitor{auth.Anyone, clientOf(r)}
}

func clientOf(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}

func guarded(gate *auth.Gate, next http.Handler) http.Handler {
	seed := maphash.MakeSeed()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := auth.HeaderCredentials([]byte(r.Header.Get("Authorization")))
		from := auth.Client{Addr: clientOf(r)}
		from.Key = maphash.Comparable(seed, from.Addr)
		now := time.Now()
		id, err := gate.Enter(&shown, from, now)
		if err == nil {
			err = gate.NeedScope(id, auth.Admin, true, from, now)
		}
		if e, ok := errors.AsType[*auth.Denied](err); ok {
			if name, value := e.Header(); name != "" {
				w.Header().Set(name, value)
			}
			http.Error(w, e.Text, e.Status())
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), senderOf{}, Visitor{id, from.Addr})))
	})
}
