package broker

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/mqtt"
	"pingline/ingest/mqtt/mqtttest"
)

const patience = 2 * time.Minute

// taker is a server that remembers the messages it has taken.
type taker struct {
	mu      sync.Mutex
	taken   []string
	results []mqtt.Result // of the next messages; then 200
	came    chan string   // if set, is told each message before its result
	let     chan bool     // if set, is waited for before each result
	done    atomic.Int64
}

func (s *taker) take(m *mqtt.Message) mqtt.Result {
	told := m.Rider + "/" + m.Device + " " + string(m.Payload)
	if m.TooLarge {
		told += "cut"
	}
	if s.came != nil {
		s.came <- told
	}
	if s.let != nil {
		<-s.let
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.done.Add(1)
	result := mqtt.Result{Status: http.StatusOK}
	if len(s.results) > 0 {
		result, s.results = s.results[0], s.results[1:]
	}
	if result.Done() {
		s.taken = append(s.taken, told)
	}
	return result
}

func (s *taker) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken)
}

// run runs a broker until the test ends, or until the function returned is called, which
// returns the error of Run.
func run(t testing.TB, cfg Config) (*Broker, func() error) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 100
	}
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = 100_000
	}
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	end := sync.OnceValue(func() error { stop(); return <-ended })
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
		if n := b.limits.Budget.Used(); n != 0 || len(b.links) != 0 || b.server.Clients.Len() != 0 {
			t.Errorf("left behind: %d bytes, %d links, %d clients", n, len(b.links), b.server.Clients.Len())
		}
	})
	return b, end
}

// enter connects a client that is let in.
func enter(t *testing.T, b *Broker, version byte, o mqtttest.Connect) *mqtttest.Publisher {
	t.Helper()
	c := mqtttest.Dial(t, b.Addr().String(), version)
	code, _, err := c.Enter(o)
	if err != nil || code != 0 {
		t.Fatalf("CONNACK %d: %v", code, err)
	}
	return c
}

// next expects a packet of a type, and returns it.
func next(t *testing.T, c *mqtttest.Publisher, kind byte) mqtttest.Packet {
	t.Helper()
	p, err := c.Next()
	if err != nil || p.Type != kind {
		t.Fatalf("a packet of type %d %x comes, want type %d: %v", p.Type, p.Body, kind, err)
	}
	return p
}

func write(t *testing.T, c *mqtttest.Publisher, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

const topic = "owntracks/ana/pixel"

// A message is acknowledged when the server has taken it, and not before.
func TestAcknowledgedOnceTaken(t *testing.T) {
	s := &taker{came: make(chan string), let: make(chan bool)}
	b, _ := run(t, Config{Take: s.take})
	for _, version := range []byte{3, 4, 5} {
		c := enter(t, b, version, mqtttest.Connect{ID: "a"})
		for qos, want := range map[byte]byte{1: mqtttest.Puback, 2: mqtttest.Pubrec} {
			write(t, c, mqtttest.Publish(version, topic, "m", qos, 7, false))
			if got := <-s.came; got != "ana/pixel m" {
				t.Errorf("%q came", got)
			}
			if !c.Quiet(50 * time.Millisecond) {
				t.Error("something is answered before the message is taken")
			}
			was := s.done.Load()
			s.let <- true
			p := next(t, c, want)
			if s.done.Load() != was+1 {
				t.Error("acknowledged before it was taken")
			}
			if p.Body[0] != 0 || p.Body[1] != 7 || len(p.Body) > 2 && p.Body[2] != 0 {
				t.Errorf("the acknowledgement is %x", p.Body)
			}
			if qos == 2 {
				write(t, c, mqtttest.Pubrel(7))
				if p := next(t, c, mqtttest.Pubcomp); len(p.Body) > 2 && p.Body[2] != 0 {
					t.Errorf("PUBCOMP %x", p.Body)
				}
			}
		}
	}
}

// A message that is not taken is tried again; when patience is at its end the connection ends
// without an acknowledgement, and the client sends it again.
func TestNotTaken(t *testing.T) {
	busy := mqtt.Result{Status: http.StatusServiceUnavailable, Wait: time.Second}
	for _, version := range []byte{4, 5} {
		s := &taker{results: []mqtt.Result{busy, busy}}
		b, _ := run(t, Config{Take: s.take, patience: time.Nanosecond})
		c := enter(t, b, version, mqtttest.Connect{ID: "a", Keep: true})
		write(t, c, mqtttest.Publish(version, topic, "m", 1, 7, false))
		if version == 5 {
			if p := next(t, c, mqtttest.Disconnect); p.Body[0] != 0x89 {
				t.Errorf("the reason is %#x, not server busy", p.Body[0])
			}
		}
		if p, err := c.Next(); err == nil {
			t.Fatalf("a packet of type %d comes", p.Type)
		}
		c = mqtttest.Dial(t, b.Addr().String(), version)
		if code, session, err := c.Enter(mqtttest.Connect{ID: "a", Keep: true}); code != 0 || !session || err != nil {
			t.Fatalf("CONNACK %d, session %v: %v", code, session, err)
		}
		write(t, c, mqtttest.Publish(version, topic, "lost", 0, 0, false)) // the other result
		write(t, c, mqtttest.Publish(version, topic, "m", 1, 7, true))
		next(t, c, mqtttest.Puback)
		if got := s.all(); !slices.Equal(got, []string{"ana/pixel m"}) {
			t.Errorf("taken are %q", got)
		}
		if st := b.Stats().Messages; st[mqtt.Taken] != 1 || st[mqtt.Again] != 1 || st[mqtt.Lost] != 1 {
			t.Errorf("%+v", st)
		}
	}
	s := &taker{results: []mqtt.Result{busy}}
	b, _ := run(t, Config{Take: s.take, patience: patience})
	c := enter(t, b, 4, mqtttest.Connect{ID: "a"})
	if err := c.Send(topic, "m", 7); err != nil {
		t.Fatal(err)
	}
	next(t, c, mqtttest.Puback) // behind the pause of a second
	if got := s.all(); !slices.Equal(got, []string{"ana/pixel m"}) {
		t.Errorf("taken are %q", got)
	}
}

// gateOf returns a gate with a key for each name, and the keys.
func gateOf(t *testing.T, rows ...auth.KeyRow) (*auth.Gate, []string, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	var secrets []string
	for i := range rows {
		var secret string
		secret, rows[i].Hash = auth.NewSecret()
		secrets = append(secrets, secret)
	}
	if err := auth.ChangeKeys(path, func([]auth.KeyRow) ([]auth.KeyRow, error) { return rows, nil }); err != nil {
		t.Fatal(err)
	}
	keys, err := auth.OpenKeyRing(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewGate(auth.Config{Keys: keys, Logger: slog.New(slog.DiscardHandler)}), secrets, path
}

func TestWhoMaySend(t *testing.T) {
	gate, keys, _ := gateOf(t,
		auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}},
		auth.KeyRow{Name: "bus", Scopes: []string{"write"}, Riders: []string{"bus-*"}},
		auth.KeyRow{Name: "desk", Scopes: []string{"read"}, Riders: []string{"*"}})
	s := &taker{}
	b, _ := run(t, Config{Take: s.take, Gate: gate})
	for name, tt := range map[string]struct {
		user, password string
		version, want  byte
	}{
		"the key of the rider":           {"ana", keys[0], 4, 0},
		"in MQTT 5":                      {"ana", keys[0], 5, 0},
		"another rider":                  {"bob", keys[0], 4, 5},
		"another rider in MQTT 5":        {"bob", keys[0], 5, 0x86},
		"a wrong key":                    {"ana", "pl_wrong", 4, 5},
		"a wrong key in MQTT 5":          {"ana", "pl_wrong", 5, 0x86},
		"nothing":                        {"", "", 4, 5},
		"a user alone":                   {"ana", "", 4, 5},
		"one of several riders":          {"bus-7", keys[1], 4, 0},
		"one that is none of several":    {"car-7", keys[1], 4, 5},
		"a key that only reads":          {"ana", keys[2], 4, 5},
		"a key without a user in MQTT 5": {"", keys[1], 5, 0},
	} {
		c := mqtttest.Dial(t, b.Addr().String(), tt.version)
		if code, _, err := c.Enter(mqtttest.Connect{ID: name, User: tt.user, Password: tt.password}); code != tt.want || err != nil {
			t.Errorf("%s: CONNACK %#x, want %#x: %v", name, code, tt.want, err)
		}
		if tt.want != 0 {
			if p, err := c.Next(); err == nil {
				t.Errorf("%s: a packet of type %d comes", name, p.Type)
			}
		}
	}
	if len(s.all()) != 0 {
		t.Errorf("taken are %q", s.all())
	}
	for _, tt := range []struct {
		user, password, topic string
		taken                 bool
	}{
		{"ana", keys[0], topic, true},
		{"ana", keys[0], "owntracks/bob/pixel", false},
		{"bus-7", keys[1], "owntracks/bus-8/box/event", true},
		{"bus-7", keys[1], "owntracks/ana/pixel", false},
		{"ana", keys[0], "elsewhere/ana/pixel", false},
		{"ana", keys[0], "$SYS/ana/pixel", false},
	} {
		for _, version := range []byte{4, 5} {
			was := len(s.all())
			c := enter(t, b, version, mqtttest.Connect{User: tt.user, Password: tt.password})
			if err := c.Send(tt.topic, "m", 7); err != nil {
				t.Fatal(err)
			}
			p := next(t, c, mqtttest.Puback) // or the app would send it again for ever
			foreign := !tt.taken && strings.HasPrefix(tt.topic, "owntracks/")
			if refused := len(p.Body) > 2 && p.Body[2] == 0x87; refused != (foreign && version == 5) {
				t.Errorf("%s to %s: PUBACK %x", tt.user, tt.topic, p.Body)
			}
			if taken := len(s.all()) > was; taken != tt.taken {
				t.Errorf("%s to %s is taken: %v", tt.user, tt.topic, taken)
			}
		}
	}
	if st := b.Stats().Messages; st[mqtt.Taken] != 4 || st[mqtt.Foreign] != 4 || st[mqtt.Ignored] != 4 {
		t.Errorf("%+v", st)
	}
	if gate.Stats()[auth.NotRider] == 0 || gate.Stats()[auth.Unknown] == 0 || gate.Stats()[auth.NoScope] == 0 {
		t.Errorf("%v", gate.Stats())
	}
}

// A client whose key is refused in mid-session is not acknowledged, and its connection ends.
func TestKeyThatEnds(t *testing.T) {
	gate, keys, _ := gateOf(t, auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}})
	s := &taker{results: []mqtt.Result{{Status: http.StatusUnauthorized}}}
	b, _ := run(t, Config{Take: s.take, Gate: gate})
	c := enter(t, b, 4, mqtttest.Connect{User: "ana", Password: keys[0]})
	if err := c.Send(topic, "m", 7); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Next(); err == nil {
		t.Errorf("a packet of type %d comes", p.Type)
	}
}

// A message that is too large is acknowledged without its payload, and the next one passes.
func TestTooLarge(t *testing.T) {
	s := &taker{}
	b, _ := run(t, Config{Take: s.take, MaxPayload: 1000})
	for _, version := range []byte{4, 5} {
		c := enter(t, b, version, mqtttest.Connect{})
		for i, payload := range []string{strings.Repeat("x", 300_000), "m"} {
			if err := c.Send(topic, payload, uint16(i+1)); err != nil {
				t.Fatal(err)
			}
			if p := next(t, c, mqtttest.Puback); p.Body[1] != byte(i+1) {
				t.Errorf("PUBACK %x", p.Body)
			}
		}
	}
	if got := s.all(); !slices.Equal(got, []string{"ana/pixel cut", "ana/pixel m", "ana/pixel cut", "ana/pixel m"}) {
		t.Errorf("taken are %q", got)
	}
}

// Subscriptions are granted, and nothing is handed on, be it retained or not.
func TestNothingIsHandedOn(t *testing.T) {
	s := &taker{}
	b, _ := run(t, Config{Take: s.take})
	for _, version := range []byte{4, 5} {
		c := enter(t, b, version, mqtttest.Connect{ID: "a"})
		if err := c.Send(topic, "m", 7); err != nil { // retained
			t.Fatal(err)
		}
		next(t, c, mqtttest.Puback)
		for _, filter := range []string{"owntracks/+/+", "#", "$SYS/#"} {
			write(t, c, mqtttest.Subscribe(version, filter))
			if p := next(t, c, mqtttest.Suback); p.Body[len(p.Body)-1] > 2 {
				t.Errorf("SUBACK %x to %s", p.Body, filter)
			}
		}
		if err := c.Send(topic, "m", 8); err != nil {
			t.Fatal(err)
		}
		next(t, c, mqtttest.Puback)
		write(t, c, mqtttest.Pingreq)
		next(t, c, mqtttest.Pingresp)
	}
	if n := b.server.Topics.Retained.Len(); n != 0 {
		t.Errorf("%d messages are retained", n)
	}
}

// The last will of a client that breaks off is taken; that of one that says goodbye is not.
func TestLastWill(t *testing.T) {
	s := &taker{came: make(chan string, 10)}
	b, _ := run(t, Config{Take: s.take})
	for _, version := range []byte{4, 5} {
		c := enter(t, b, version, mqtttest.Connect{ID: "a", Will: &mqtttest.Will{Topic: topic, Payload: "lwt of one that left"}})
		write(t, c, mqtttest.Leaving)
		if p, err := c.Next(); err == nil {
			t.Errorf("a packet of type %d comes", p.Type)
		}
		c = enter(t, b, version, mqtttest.Connect{ID: "b", Will: &mqtttest.Will{Topic: topic, Payload: "lwt"}})
		_ = c.Close()
		if got := <-s.came; got != "ana/pixel lwt" {
			t.Errorf("%q is taken", got)
		}
	}
}

// A session is remembered for who asks for one, and only by its user.
func TestSessions(t *testing.T) {
	b, _ := run(t, Config{Take: (&taker{}).take})
	for i, tt := range []struct {
		user  string
		keep  bool
		known bool
	}{{"ana", true, false}, {"ana", true, true}, {"bob", true, false}, {"ana", false, false}, {"ana", true, false}} {
		c := mqtttest.Dial(t, b.Addr().String(), 5)
		if code, session, err := c.Enter(mqtttest.Connect{ID: "a", User: tt.user, Keep: tt.keep}); code != 0 || session != tt.known || err != nil {
			t.Errorf("%d: CONNACK %d, session %v: %v", i, code, session, err)
		}
	}
	for range 2 { // MQTT 3.1 has no word for it
		if _, session, err := mqtttest.Dial(t, b.Addr().String(), 3).Enter(mqtttest.Connect{ID: "c", Keep: true}); session || err != nil {
			t.Errorf("session %v: %v", session, err)
		}
	}
	few := sessions{most: 10, seed: b.sessions.seed}
	now := time.Now()
	for i := range 1000 {
		few.begin(strings.Repeat("x", i), now)
	}
	if n := len(few.now) + len(few.was); n > 10 {
		t.Errorf("%d sessions are remembered", n)
	}
	if !few.begin(strings.Repeat("x", 999), now) || few.begin("", now) || few.begin(strings.Repeat("x", 999), now.Add(25*time.Hour)) {
		t.Error("the wrong sessions are remembered")
	}
}

// A client takes the place of its own connection from before, and of nobody else's.
func TestSameClient(t *testing.T) {
	b, _ := run(t, Config{Take: (&taker{}).take})
	ana, bob := enter(t, b, 4, mqtttest.Connect{ID: "a", User: "ana"}), enter(t, b, 4, mqtttest.Connect{ID: "a", User: "bob"})
	again := enter(t, b, 4, mqtttest.Connect{ID: "a", User: "ana"})
	for p, err := ana.Next(); err == nil; p, err = ana.Next() {
		if p.Type != mqtttest.Disconnect {
			t.Errorf("a packet of type %d comes", p.Type)
		}
	}
	for _, c := range []*mqtttest.Publisher{bob, again} {
		write(t, c, mqtttest.Pingreq)
		next(t, c, mqtttest.Pingresp)
	}
}

// Beyond the most connections a new one takes the place of one that waits, and never of one
// whose message is in work.
func TestMostConnections(t *testing.T) {
	s := &taker{came: make(chan string), let: make(chan bool)}
	b, _ := run(t, Config{Take: s.take, MaxConnections: 2})
	working := enter(t, b, 4, mqtttest.Connect{ID: "a"})
	if err := working.Send(topic, "m", 7); err != nil {
		t.Fatal(err)
	}
	<-s.came
	waiting := enter(t, b, 4, mqtttest.Connect{ID: "b"})
	enter(t, b, 4, mqtttest.Connect{ID: "c"})
	if p, err := waiting.Next(); err == nil {
		t.Errorf("a packet of type %d comes", p.Type)
	}
	s.let <- true
	next(t, working, mqtttest.Puback)
	if st := b.Stats(); st.Displaced != 1 || st.Open != 2 {
		t.Errorf("%+v", st)
	}
}

// Told to stop, the broker acknowledges the message in work, and then leaves.
func TestStop(t *testing.T) {
	s := &taker{came: make(chan string), let: make(chan bool)}
	b, end := run(t, Config{Take: s.take, Grace: patience})
	idle := enter(t, b, 4, mqtttest.Connect{ID: "b", Will: &mqtttest.Will{Topic: topic, Payload: "lwt"}})
	c := enter(t, b, 4, mqtttest.Connect{ID: "a"})
	if err := c.Send(topic, "m", 7); err != nil {
		t.Fatal(err)
	}
	<-s.came
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	if p, err := idle.Next(); err == nil {
		t.Errorf("a packet of type %d comes", p.Type)
	}
	s.let <- true
	next(t, c, mqtttest.Puback)
	if p, err := c.Next(); err == nil {
		t.Errorf("a packet of type %d comes", p.Type)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", b.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

// A message that waits for the server does not hold up the end.
func TestStopWhileWaiting(t *testing.T) {
	s := &taker{came: make(chan string), results: slices.Repeat([]mqtt.Result{{Status: 503, Wait: time.Hour}}, 10)}
	b, end := run(t, Config{Take: s.take, Grace: patience, patience: patience})
	c := enter(t, b, 4, mqtttest.Connect{ID: "a"})
	if err := c.Send(topic, "m", 7); err != nil {
		t.Fatal(err)
	}
	<-s.came
	if err := end(); err != nil {
		t.Error(err)
	}
	if p, err := c.Next(); err == nil {
		t.Errorf("a packet of type %d comes", p.Type)
	}
}

func TestAddressThatIsTaken(t *testing.T) {
	b, _ := run(t, Config{Take: (&taker{}).take})
	if _, err := Open(Config{Listen: b.Addr().String(), MaxConnections: 1}); err == nil || !strings.HasPrefix(err.Error(), "--mqtt-listen: ") {
		t.Errorf("error %v, want one that names the flag", err)
	}
	if (*Broker)(nil).Addr() != nil {
		t.Error("no broker has an address")
	}
}

// Whatever a client sends, the broker neither panics nor keeps anything of it.
func FuzzClient(f *testing.F) {
	for _, version := range []byte{3, 4, 5} {
		hello := (&mqtttest.Connect{ID: "a", User: "ana", Password: "x", Will: &mqtttest.Will{Topic: topic, Payload: "lwt"}}).Bytes(version)
		f.Add(append(hello, mqtttest.Publish(version, topic, "m", 1, 7, false)...))
		f.Add(append(hello, append(mqtttest.Subscribe(version, "#"), mqtttest.Publish(version, topic, strings.Repeat("x", 20_000), 2, 7, true)...)...))
	}
	b, err := Open(Config{Listen: "127.0.0.1:0", Take: func(*mqtt.Message) mqtt.Result { return mqtt.Result{Status: 200} }, MaxConnections: 10, MaxPayload: 1000})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = b.Close() })
	f.Fuzz(func(t *testing.T, sent []byte) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Write(sent)
			_ = theirs.Close()
		}()
		go func() {
			for p := make([]byte, 1000); ; {
				if _, err := theirs.Read(p); err != nil {
					return
				}
			}
		}()
		b.serve(ours)
		if b.limits.Budget.Used() != 0 || len(b.links) != 0 || b.server.Clients.Len() != 0 || b.server.Topics.Retained.Len() != 0 {
			t.Errorf("left behind: %d bytes, %d links, %d clients", b.limits.Budget.Used(), len(b.links), b.server.Clients.Len())
		}
	})
}
