// Package certs has the certificate with which listeners speak TLS, and decides which client
// certificates are let in.
//
// Its files are read again when they change. A new connection has the new certificate; open
// connections stay, but for those whose client certificate is not let in any more. A file that
// cannot be used leaves things as they were, and holds up no other: a certificate and its key
// are taken together, authorities and revocation lists each by themselves. A peer learns that
// its certificate is refused, and not why: the reason is in the log, and is counted.
//
// The package limits neither how many connections there are nor how long a handshake may
// take: the deadlines of a connection hold for its handshake, too.
package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/auth/reread"
)

// Config sets up Certificates. All files are PEM; a CRL may be DER.
type Config struct {
	Cert, Key string // certificate, with those between it and its authority, and its key; "": no TLS
	ClientCA  string // authorities of client certificates; "": none is asked for
	ClientCRL string // revocation lists of these authorities; "": none

	// Riders has a client certificate name the rider that its sender may send and read as.
	// It may be missing then. Without Riders it says nothing of the sender, and every
	// connection needs one.
	Riders bool

	Nameless bool // no name of a client certificate is in the log

	Logger   *slog.Logger
	Failures *auth.Failures // told of connections that are not let in; nil: own
}

// On reports whether listeners speak TLS.
func (c *Config) On() bool { return c.Cert != "" || c.Key != "" }

// Check returns the flag of the first setting that is wrong, and why it is. It reads no file.
func (c *Config) Check() (flag string, err error) {
	switch {
	case c.Cert == "" && c.Key != "":
		return "tls-key", errors.New("and --tls-cert: give both or neither")
	case c.Cert != "" && c.Key == "":
		return "tls-cert", errors.New("and --tls-key: give both or neither")
	case c.ClientCA != "" && c.Cert == "":
		return "tls-client-ca", errors.New("asks for client certificates, which takes --tls-cert and --tls-key")
	case c.ClientCRL != "" && c.ClientCA == "":
		return "tls-client-crl", errors.New("has lists of the authorities of --tls-client-ca: give that, too")
	}
	return "", nil
}

const (
	patience = 2 * time.Second     // from a change until files that do not fit together are an error
	soon     = 14 * 24 * time.Hour // before a certificate expires, from which on an operator is told
	again    = 24 * time.Hour      // until an operator is told again
)

// Certificates are the certificates of listeners. They are safe for concurrent use; Run is
// called once.
type Certificates struct {
	cfg      Config
	failures *auth.Failures
	now      atomic.Pointer[generation]
	notes    atomic.Pointer[[]string] // of each file that cannot be used, why

	// Used by Open and Run alone.
	files   []*file
	dirty   bool      // a file has changed, and is neither used nor told to be of no use
	changed time.Time // when a file last did
	remind  time.Time // from which on an operator is told of an expiry

	mu   sync.Mutex                          // guards held; nothing else is locked under it
	held map[*SecureConn][]*x509.Certificate // open connections with a client certificate, and the certificates sent
}

// file is one of the files, as it was read last.
type file struct {
	flag, path string
	on         *reread.Copy
	text       []byte
	err        error
	fresh      bool // it has changed, and is not used yet
}

// read returns the text of f, or why it cannot be read.
func (f *file) read() ([]byte, error) {
	if f.err != nil {
		return nil, fmt.Errorf("--%s: %w", f.flag, f.err)
	}
	return f.text, nil
}

// generation is all that is known of the files at a time. It does not change.
type generation struct {
	pair    *tls.Certificate
	clients *rules      // nil: no client certificate is asked for
	alone   *tls.Config // of listeners that ask for none
	asking  *tls.Config // of those that ask
}

// Open reads the files. The error names the flag and the file of the first that is of no use.
func Open(cfg Config) (*Certificates, error) {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	s := &Certificates{cfg: cfg, failures: cfg.Failures, held: make(map[*SecureConn][]*x509.Certificate)}
	if s.failures == nil {
		s.failures = auth.NewFailures(cfg.Logger, nil)
	}
	s.notes.Store(new([]string))
	for _, f := range []file{
		{flag: "tls-cert", path: cfg.Cert}, {flag: "tls-key", path: cfg.Key},
		{flag: "tls-client-ca", path: cfg.ClientCA}, {flag: "tls-client-crl", path: cfg.ClientCRL},
	} {
		if f.path != "" {
			f.on = reread.New(f.path)
			f.text, _, f.err = f.on.Look()
			f.fresh = true
		}
		s.files = append(s.files, &f)
	}
	g, _, troubles := s.build(new(generation))
	if len(troubles) > 0 {
		return nil, troubles[0].error
	}
	s.adopt(g, time.Now())
	return s, nil
}

// unused is why a file cannot be used.
type unused struct {
	of string // that stays as it was
	error
}

// build returns the generation of was and of the files that have changed since, if they can be
// used; taken reports whether any can.
func (s *Certificates) build(was *generation) (g *generation, taken bool, troubles []unused) {
	cert, key, ca, crl := s.files[0], s.files[1], s.files[2], s.files[3]
	pair, clients := was.pair, was.clients
	if cert.fresh || key.fresh {
		if p, err := readPair(cert, key); err != nil {
			troubles = append(troubles, unused{"the certificate of TLS stays as it was", err})
		} else {
			pair, cert.fresh, key.fresh, taken = p, false, false, true
		}
	}
	if clients == nil && ca.path != "" {
		clients = &rules{riders: s.cfg.Riders, nameless: s.cfg.Nameless}
	}
	if ca.fresh {
		if next, err := clients.by(ca); err != nil {
			troubles = append(troubles, unused{"the authorities of client certificates stay as they were", err})
		} else {
			clients, ca.fresh, taken = next, false, true
			crl.fresh = crl.path != "" // a list is good by its authority
		}
	}
	if crl.fresh && clients != nil {
		if next, err := clients.without(crl); err != nil {
			troubles = append(troubles, unused{"the lists of revoked certificates stay as they were", err})
		} else {
			clients, crl.fresh, taken = next, false, true
		}
	}
	if !taken || pair == nil {
		return was, false, troubles
	}
	return s.generation(pair, clients), true, troubles
}

func (s *Certificates) generation(pair *tls.Certificate, clients *rules) *generation {
	g := &generation{pair: pair, clients: clients}
	g.alone = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*g.pair},
		NextProtos:   []string{"http/1.1"},
	}
	if clients == nil {
		g.asking = g.alone
		return g
	}
	g.asking = g.alone.Clone()
	g.asking.ClientCAs = g.clients.roots
	// The certificate is verified by VerifyConnection: crypto/tls would tell the peer why it is
	// refused, and does not verify anew when a session goes on.
	g.asking.ClientAuth = tls.RequireAnyClientCert
	if s.cfg.Riders {
		g.asking.ClientAuth = tls.RequestClientCert
	}
	g.asking.VerifyConnection = func(c tls.ConnectionState) error {
		if len(c.PeerCertificates) == 0 {
			return nil
		}
		if _, refusal := clients.check(c.PeerCertificates, time.Now()); refusal != nil {
			return refusal
		}
		return nil
	}
	return g
}

// adopt makes g the generation of new connections.
func (s *Certificates) adopt(g *generation, now time.Time) {
	s.now.Store(g)
	s.remind = time.Time{}
	if key := s.files[1]; key.on.Mode()&0o026 != 0 {
		s.cfg.Logger.Warn("others may read or write the key of TLS, and so pretend to be this server", "file", key.path, "mode", key.on.Mode())
	}
	leaf := g.pair.Leaf
	s.cfg.Logger.Info("the certificate of TLS is read", "file", s.cfg.Cert, "serial", leaf.SerialNumber.Text(16), "names", strings.Join(leaf.DNSNames, ","), "expires", leaf.NotAfter)
	s.reminder(g, now)
}

// Run reads the files again when they change, until ctx is cancelled.
func (s *Certificates) Run(ctx context.Context) error {
	tick := time.NewTicker(reread.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.look(time.Now())
		}
	}
}

// look reads the files that have changed. A file that has just changed is used when the next look finds
// it as it was, because it may be written in parts. Files that do not fit together, such as a
// new certificate and the key of the old one, have patience until they do.
func (s *Certificates) look(now time.Time) {
	moved := false
	for _, f := range s.files {
		if f.on == nil {
			continue
		}
		if text, changed, err := f.on.Look(); changed {
			f.text, f.err, f.fresh, moved = text, err, true, true
		}
	}
	g, taken := s.now.Load(), false
	switch {
	case moved:
		s.dirty, s.changed = true, now
	case s.dirty:
		var troubles []unused
		if g, taken, troubles = s.build(g); taken {
			s.adopt(g, now)
		}
		s.settle(troubles, now)
	}
	s.recheck(g, now, taken)
	s.reminder(g, now)
}

// settle notes the troubles with files, each logged once, when patience is over; without
// troubles there is nothing to note any more.
func (s *Certificates) settle(troubles []unused, now time.Time) {
	if len(troubles) > 0 && now.Sub(s.changed) < patience {
		return
	}
	s.dirty = false
	before, notes := *s.notes.Load(), []string{}
	for _, t := range troubles {
		note := t.of + ": " + t.Error()
		if notes = append(notes, note); !slices.Contains(before, note) {
			s.cfg.Logger.Error(t.of, "error", t.error)
		}
	}
	s.notes.Store(&notes)
}

// reminder logs an expiry, once a day.
func (s *Certificates) reminder(g *generation, now time.Time) {
	if now.Before(s.remind) {
		return
	}
	if list := g.expiring(now); len(list) > 0 {
		s.remind = now.Add(again)
		for _, note := range list {
			s.cfg.Logger.Warn(note)
		}
	}
}

// expiring returns a sentence for the certificate, and for each list, that has expired or
// will soon.
func (g *generation) expiring(now time.Time) (notes []string) {
	switch end := g.pair.Leaf.NotAfter; {
	case now.After(end):
		notes = append(notes, fmt.Sprintf("--tls-cert: the certificate has expired, on %s: clients refuse it; put a new one in its place", end.UTC().Format(time.DateOnly)))
	case end.Sub(now) < soon:
		notes = append(notes, fmt.Sprintf("--tls-cert: the certificate expires on %s: put a new one in its place", end.UTC().Format(time.DateOnly)))
	}
	if g.clients == nil {
		return notes
	}
	for _, l := range g.clients.lists {
		if !l.next.IsZero() && now.After(l.next) {
			notes = append(notes, fmt.Sprintf("--tls-client-crl: the list of %.100q was to be followed by another on %s: certificates revoked since are let in", l.issuer, l.next.UTC().Format(time.DateOnly)))
		}
	}
	return notes
}

// Notes returns a sentence for each trouble that an operator must know of.
func (s *Certificates) Notes() (notes []string) {
	if s == nil {
		return nil
	}
	notes = append(notes, *s.notes.Load()...)
	return append(notes, s.now.Load().expiring(time.Now())...)
}

// Expires returns when the certificate expires; the zero time of nil.
func (s *Certificates) Expires() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.now.Load().pair.Leaf.NotAfter
}

// Failures returns the connections that were not let in.
func (s *Certificates) Failures() *auth.Failures { return s.failures }

// Required reports whether every connection needs a client certificate.
func (s *Certificates) Required() bool { return s != nil && s.cfg.ClientCA != "" && !s.cfg.Riders }

// recheck closes the connections whose client certificate is not let in any more: has
// expired or, where all are checked, is refused by g.
func (s *Certificates) recheck(g *generation, now time.Time, all bool) {
	if g.clients == nil {
		return
	}
	suspects := make(map[*SecureConn][]*x509.Certificate)
	s.mu.Lock()
	for c, chain := range s.held {
		if all || now.After(chain[0].NotAfter) {
			suspects[c] = chain
		}
	}
	s.mu.Unlock()
	for c, chain := range suspects {
		if _, refusal := g.clients.check(chain, now); refusal != nil {
			s.failures.Tell(refusal, hostOf(c.raw), now)
			_ = c.raw.Close() // its reader or writer gets an error
		}
	}
}

// Listener returns a listener whose connections come from ln, and speak TLS. With clients
// they are asked for a certificate, if there are authorities of such.
func (s *Certificates) Listener(ln net.Listener, clients bool) net.Listener {
	return &secureListener{ln, s, clients}
}

type secureListener struct {
	net.Listener
	all     *Certificates
	clients bool
}

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.all.Wrap(c, l.clients), nil
}
