package subscriber

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"pingline/ingest/mqtt"
	"pingline/ingest/server/certs/certstest"
)

const patience = 2 * time.Minute

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

// others is a broker of others.
type others struct {
	*mochi.Server
	addr string
	stop func()
}

// doorkeeper lets in the user pingline with a password, or everybody.
type doorkeeper struct {
	mochi.HookBase
	password string
}

func (d *doorkeeper) Provides(of byte) bool {
	return of == mochi.OnConnectAuthenticate || of == mochi.OnACLCheck
}

func (d *doorkeeper) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	return d.password == "" || string(pk.Connect.Username) == "pingline" && string(pk.Connect.Password) == d.password
}

func (d *doorkeeper) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// start starts a broker that lets in the user pingline with a password, or everybody.
func start(t *testing.T, password string, secured *tls.Config) *others {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if secured != nil {
		ln = tls.NewListener(ln, secured)
	}
	b := &others{mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)}), addr, nil}
	if err := b.AddHook(&doorkeeper{password: password}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.AddListener(listeners.NewNet("test", ln)); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	b.stop = sync.OnceFunc(func() { _ = b.Close() })
	t.Cleanup(b.stop)
	return b
}

// publish publishes a message of an inline client.
func (b *others) publish(t *testing.T, topic, payload string, qos byte) {
	t.Helper()
	if err := b.Publish(topic, []byte(payload), false, qos); err != nil {
		t.Fatal(err)
	}
}

// unacknowledged is how many messages of the session are not acknowledged.
func (b *others) unacknowledged() int {
	cl, ok := b.Clients.Get("pingline-test")
	if !ok {
		return -1
	}
	return cl.State.Inflight.Len()
}

// server is one that remembers the messages that it takes.
type server struct {
	mu    sync.Mutex
	taken []string
	next  func(m *mqtt.Message) int // status of a message; nil: 200
}

func (s *server) take(m *mqtt.Message) mqtt.Result {
	status := http.StatusOK
	if s.next != nil {
		status = s.next(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if status == http.StatusOK {
		s.taken = append(s.taken, m.Rider+"/"+m.Device+" "+string(m.Payload))
	}
	return mqtt.Result{Status: status, Wait: time.Millisecond}
}

func (s *server) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken)
}

// run runs a subscriber until the test ends or the function returned is called, and waits for
// its subscription.
func run(t *testing.T, cfg Config) (*Subscriber, func()) {
	t.Helper()
	cfg.ID = "pingline-test"
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	end := sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return s, end
}

func subscribed(t *testing.T, s *Subscriber) {
	t.Helper()
	eventually(t, "the subscription stands", func() bool { return s.Stats().Connected })
}

const topic = "owntracks/ana/pixel"

// A message is acknowledged to the broker when the server has taken it, and not before.
func TestAcknowledgedOnceTaken(t *testing.T) {
	b := start(t, "", nil)
	came, let := make(chan bool), make(chan bool)
	srv := &server{next: func(*mqtt.Message) int { came <- true; <-let; return 200 }}
	s, _ := run(t, Config{Upstream: Upstream{URL: "mqtt://" + b.addr}, Take: srv.take})
	subscribed(t, s)
	b.publish(t, topic, "m", 1)
	<-came
	time.Sleep(10 * acksEvery) // as long as an acknowledgement could take
	if n := b.unacknowledged(); n != 1 {
		t.Errorf("%d messages are unacknowledged before it is taken", n)
	}
	let <- true
	eventually(t, "it is acknowledged", func() bool { return b.unacknowledged() == 0 })
	if got := srv.all(); !slices.Equal(got, []string{"ana/pixel m"}) || s.Stats().Messages[mqtt.Taken] != 1 {
		t.Errorf("taken are %q, %v", got, s.Stats())
	}
}

// Messages that are not taken are tried again, and keep none of other riders from being taken.
func TestNotTaken(t *testing.T) {
	b := start(t, "", nil)
	var mu sync.Mutex
	refused := 0
	srv := &server{next: func(m *mqtt.Message) int {
		mu.Lock()
		defer mu.Unlock()
		if m.Rider == "ana" && refused < 2 {
			refused++
			return []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[refused%2]
		}
		return 200
	}}
	s, _ := run(t, Config{Upstream: Upstream{URL: "mqtt://" + b.addr}, Take: srv.take})
	subscribed(t, s)
	b.publish(t, topic, "m", 1)
	for i := range 2 * lanes {
		b.publish(t, fmt.Sprintf("owntracks/r-%d/pixel/event", i), "m", 1)
	}
	b.publish(t, "owntracks/elsewhere", "m", 1) // not subscribed
	eventually(t, "all is acknowledged", func() bool { return len(srv.all()) == 2*lanes+1 && b.unacknowledged() == 0 })
	if got := srv.all(); got[0] == "ana/pixel m" {
		t.Errorf("%q is taken first, though it was refused", got[0])
	}
}

// flaky stands before a broker: it passes a few bytes at a time, and breaks off when told to.
type flaky struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func slow(t *testing.T, to string) *flaky {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{Listener: ln}
	t.Cleanup(func() { _ = ln.Close(); f.cut() })
	pass := func(to, from net.Conn) {
		for p := make([]byte, 100); ; time.Sleep(200 * time.Microsecond) {
			n, err := from.Read(p)
			if _, werr := to.Write(p[:n]); err != nil || werr != nil {
				_, _ = to.Close(), from.Close()
				return
			}
		}
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			f.mu.Lock()
			f.conns = append(f.conns, c, up)
			f.mu.Unlock()
			go pass(up, c)
			go pass(c, up)
		}
	}()
	return f
}

func (f *flaky) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
}

// A message whose connection breaks while it is being taken is not acknowledged on the next
// one by that, but comes again.
func TestConnectionThatBreaks(t *testing.T) {
	b := start(t, "", nil)
	f := slow(t, b.addr)
	came, let := make(chan bool, 10), make(chan bool)
	srv := &server{next: func(*mqtt.Message) int { came <- true; <-let; return 200 }}
	s, _ := run(t, Config{Upstream: Upstream{URL: "mqtt://" + f.Addr().String()}, Take: srv.take})
	subscribed(t, s)
	b.publish(t, topic, "m", 1)
	<-came
	f.cut()
	eventually(t, "the connection is down", func() bool { return !s.Stats().Connected })
	let <- true
	<-came // it comes again
	if n := b.unacknowledged(); n != 1 {
		t.Errorf("%d messages are unacknowledged", n)
	}
	close(let) // a busy machine may lose the connection once more
	eventually(t, "it is acknowledged", func() bool { return b.unacknowledged() == 0 })
	if n := len(srv.all()); n < 2 {
		t.Errorf("it is taken %d times", n)
	}
}

// Messages that come while nobody subscribes wait in the session.
func TestAway(t *testing.T) {
	b := start(t, "", nil)
	srv := &server{}
	cfg := Config{Upstream: Upstream{URL: "mqtt://" + b.addr}, Take: srv.take}
	s, end := run(t, cfg)
	subscribed(t, s)
	b.publish(t, topic, "1", 1)
	eventually(t, "it is taken", func() bool { return len(srv.all()) == 1 })
	end()
	for i := 2; i <= 20; i++ {
		b.publish(t, topic, fmt.Sprint(i), 1)
	}
	s, _ = run(t, cfg)
	subscribed(t, s)
	eventually(t, "all are taken", func() bool { return len(srv.all()) >= 20 && b.unacknowledged() == 0 })
}

// Told to stop, a subscriber acknowledges what is being taken, and leaves what waits.
func TestStop(t *testing.T) {
	b := start(t, "", nil)
	came, let := make(chan bool, 10), make(chan bool)
	srv := &server{next: func(m *mqtt.Message) int {
		came <- true
		if m.Rider == "ana" {
			<-let
			return 200
		}
		return 503
	}}
	s, end := run(t, Config{Upstream: Upstream{URL: "mqtt://" + b.addr}, Take: srv.take})
	subscribed(t, s)
	b.publish(t, topic, "m", 1)
	<-came
	b.publish(t, "owntracks/bob/pixel", "m", 1)
	<-came
	ended := make(chan bool)
	go func() { end(); close(ended) }()
	<-s.stop
	let <- true
	<-ended
	if n := b.unacknowledged(); n != 1 {
		t.Errorf("%d are unacknowledged, want that of bob", n)
	}
	if st := s.Stats(); st.Connected || st.Messages[mqtt.Taken] != 1 || st.Messages[mqtt.Again] != 1 || s.Notes() != nil {
		t.Errorf("%+v, %q", st, s.Notes())
	}
}

// A broker that refuses the password is told of, without it, and tried again; so is one that is
// away. The password is read again.
func TestRefused(t *testing.T) {
	b := start(t, "hunter2-right", nil)
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hunter2-wrong\n")
	var log lockedBuffer
	srv := &server{}
	s, end := run(t, Config{Upstream: Upstream{URL: "mqtt://pingline@" + b.addr, PasswordFile: file}, Take: srv.take, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	eventually(t, "it is told", func() bool { return len(s.Notes()) > 0 })
	note := s.Notes()[0]
	if !strings.HasPrefix(note, "--mqtt-broker: not subscribed at "+b.addr+": server denied connect (reason: 134)") {
		t.Errorf("the note is %q", note)
	}
	write("hunter2-right\n")
	subscribed(t, s)
	if s.Notes() != nil {
		t.Errorf("notes %q", s.Notes())
	}
	b.stop()
	eventually(t, "it is told that the broker is away", func() bool { return len(s.Notes()) > 0 && !s.Stats().Connected })
	end()
	if said := log.String() + note; strings.Contains(said, "hunter2") || !strings.Contains(said, "not subscribed") {
		t.Errorf("said %s", said)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A broker is asked for a certificate that the authorities of the setting vouch for.
func TestOverTLS(t *testing.T) {
	ca, stranger := certstest.New(t, "ours"), certstest.New(t, "theirs")
	pair := ca.Server()
	cert, err := tls.X509KeyPair(pair.Text, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, "", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	srv := &server{}
	s, _ := run(t, Config{Upstream: Upstream{URL: "mqtts://" + b.addr, CAFile: stranger.File("theirs.pem", stranger.Text())}, Take: srv.take})
	eventually(t, "the certificate is refused", func() bool {
		return slices.ContainsFunc(s.Notes(), func(n string) bool { return strings.Contains(n, "certificate signed by unknown authority") })
	})
	s, _ = run(t, Config{Upstream: Upstream{URL: "mqtts://" + b.addr, CAFile: ca.File("ours.pem", ca.Text())}, Take: srv.take})
	subscribed(t, s)
	b.publish(t, topic, "m", 1)
	eventually(t, "a message is taken", func() bool { return len(srv.all()) == 1 })
}

func TestUpstream(t *testing.T) {
	for name, tt := range map[string]struct {
		of         Upstream
		flag, want string
		host       string
	}{
		"none":                   {},
		"a host":                 {of: Upstream{URL: "mqtt://broker.example.org"}, host: "broker.example.org:1883"},
		"TLS":                    {of: Upstream{URL: "mqtts://pingline@[2001:db8::1]/"}, host: "[2001:db8::1]:8883"},
		"a port":                 {of: Upstream{URL: "mqtt://h:11883", PasswordFile: ""}, host: "h:11883"},
		"a password":             {of: Upstream{URL: "mqtt://u:hunter2@h"}, flag: "mqtt-broker", want: "--mqtt-broker-password-file"},
		"another scheme":         {of: Upstream{URL: "tcp://h"}, flag: "mqtt-broker", want: "not of the form"},
		"no host":                {of: Upstream{URL: "mqtt://"}, flag: "mqtt-broker", want: "not of the form"},
		"a path":                 {of: Upstream{URL: "mqtt://h/owntracks"}, flag: "mqtt-broker", want: "not of the form"},
		"no URL":                 {of: Upstream{URL: "mqtt://u:hunter2 @h"}, flag: "mqtt-broker", want: "not of the form"},
		"a port that is none":    {of: Upstream{URL: "mqtt://h:99999"}, flag: "mqtt-broker", want: "not of the form"},
		"a password of nobody":   {of: Upstream{URL: "mqtt://h", PasswordFile: "f"}, flag: "mqtt-broker-password-file", want: "USER"},
		"a password and nothing": {of: Upstream{PasswordFile: "f"}, flag: "mqtt-broker-password-file", want: "give both"},
		"authorities without":    {of: Upstream{URL: "mqtt://h", CAFile: "f"}, flag: "mqtt-broker-ca-file", want: "mqtts://"},
	} {
		flag, err := tt.of.Check()
		if flag != tt.flag || (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %s: %v, want %s: %s", name, flag, err, tt.flag, tt.want)
		}
		if tt.host == "" {
			continue
		}
		if s, err := Open(Config{Upstream: tt.of}); err != nil || s.url.Host != tt.host {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, missing := range []Upstream{{URL: "mqtt://u@h", PasswordFile: "/none"}, {URL: "mqtts://h", CAFile: "/none"}} {
		if _, err := Open(Config{Upstream: missing}); err == nil || !strings.HasPrefix(err.Error(), "--mqtt-broker-") {
			t.Errorf("%+v: %v", missing, err)
		}
	}
	if (*Subscriber)(nil).Stats() != nil || (*Subscriber)(nil).Notes() != nil {
		t.Error("no subscriber has counts")
	}
}
