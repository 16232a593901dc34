package node

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/mqtt/mqtttest"
	"pingline/ingest/server/certs/certstest"
)

// mqttConfig returns the settings of a node that is a broker.
func mqttConfig(t *testing.T, a access.Settings) Config {
	cfg := authConfig(t, "127.0.0.1:0", "", a)
	cfg.MQTT.Listen = "127.0.0.1:0"
	cfg.Bound.MaxError, cfg.Bound.AccuracyCap = 0, 0 // only copies are dropped
	return cfg
}

// published is a client of a node that publishes as OwnTracks does.
type published struct {
	*mqtttest.Publisher
	t    *testing.T
	next uint16
}

func publisher(t *testing.T, n *driven, version byte, o mqtttest.Connect) *published {
	t.Helper()
	c := mqtttest.Dial(t, n.inlets.Broker.Addr().String(), version)
	if code, _, err := c.Enter(o); code != 0 || err != nil {
		t.Fatalf("CONNACK %#x: %v", code, err)
	}
	return &published{c, t, 0}
}

// send publishes a message of QoS 1.
func (p *published) send(topic, message string) {
	p.t.Helper()
	p.next++
	if err := p.Send(topic, message, p.next); err != nil {
		p.t.Fatal(err)
	}
}

// acknowledged waits for the acknowledgement of the last message.
func (p *published) acknowledged() {
	p.t.Helper()
	got, err := p.Next()
	if err != nil || got.Type != mqtttest.Puback || got.Body[1] != byte(p.next) {
		p.t.Fatalf("a packet of type %d %x comes, want PUBACK %d: %v", got.Type, got.Body, p.next, err)
	}
}

// fixOf is the location of the ith second.
func fixOf(i int) string {
	return fmt.Sprintf(`{"_type":"location","acc":5,"lat":%.4f,"lon":-8.6291,"tid":"an","tst":%d}`, 41+float64(i)/1000, time.Now().Unix()-600+int64(i))
}

const anas = "owntracks/ana/pixel"

// A message by MQTT is a request of /v1/owntracks, and counts as one.
func TestMQTTIsAsHTTP(t *testing.T) {
	keys := keysFile(t,
		auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}},
		auth.KeyRow{Name: "bus", Scopes: []string{"write"}, Riders: []string{"bus-*"}, Zones: []string{"41.05,-8.6291,50"}})
	var log bytes.Buffer
	cfg := mqttConfig(t, access.Settings{Ways: []string{"keys"}, Keys: keys.path})
	cfg.Logger, cfg.MaxBody = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), 10_000
	n := drive(t, cfg)
	want := map[string]float64{}
	for i, version := range []byte{3, 4, 5} {
		p := publisher(t, n, version, mqtttest.Connect{ID: "a", User: "ana", Password: keys.secrets["ana"], Will: &mqtttest.Will{Topic: anas, Payload: `{"_type":"lwt","tst":1}`}})
		for _, m := range []struct{ topic, message, outcome string }{
			{anas, fixOf(2 * i), "taken"},
			{anas, fixOf(2*i + 1), "taken"},
			{anas + "/event", `{"_type":"transition","lat":50,"lon":8,"tst":1759999990,"event":"enter"}`, "empty"},
			{anas + "/waypoint", `{"_type":"waypoint","lat":50,"lon":8,"tst":1759999990}`, "empty"},
			{anas, "", "empty"},
			{anas, `{"_type":"location","lat":91,"lon":1,"tst":1759999990}`, "rejected"},
			{anas, `{"_type":"location","lat":`, "refused"},
			{anas, strings.Repeat("x", 50_000), "refused"},
			{"owntracks/bob/pixel", fixOf(7), "foreign"},
		} {
			p.send(m.topic, m.message)
			p.acknowledged()
			want[m.outcome]++
		}
		_ = p.Close() // the last will is empty, too
		want["empty"]++
	}
	p := publisher(t, n, 4, mqtttest.Connect{User: "bus-1", Password: keys.secrets["bus"]})
	for topic, message := range map[string]string{"owntracks/bus-7/box": fixOf(1), "owntracks/bus-8/box": fixOf(50)} { // inside the zone
		p.send(topic, message)
		p.acknowledged()
	}
	want["taken"]++
	want["rejected"]++
	n.until(`mqtt_messages_total{by="broker",outcome="taken"}`)
	for deadline := time.Now().Add(time.Minute); n.metricsNow()[`phone_requests_total{outcome="empty",protocol="owntracks"}`] < want["empty"] && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // last wills come on their own
	}
	got := n.metricsNow()
	for outcome, count := range want {
		series := `phone_requests_total{outcome="` + outcome + `",protocol="owntracks"}`
		if outcome == "foreign" {
			series = `mqtt_messages_total{by="broker",outcome="foreign"}`
		}
		if got[series] != count {
			t.Errorf("%s is %v, want %v", series, got[series], count)
		}
	}
	if got[`pings_total{verdict="accepted"}`] != 7 || got[`rejected_total{reason="private_zone"}`] != 1 || got[`auth_failures_total{reason="rider"}`] != 3 {
		t.Errorf("%v accepted, %v in a private zone, %v of other riders", got[`pings_total{verdict="accepted"}`], got[`rejected_total{reason="private_zone"}`], got[`auth_failures_total{reason="rider"}`])
	}
	status, body := ask(t, n.URL()+"/v1/riders/ana", "")
	if status != 401 {
		t.Errorf("%d %s", status, body)
	}
	for _, wrong := range []mqtttest.Connect{{User: "ana", Password: "pl_wrong"}, {User: "ana"}, {}, {User: "bob", Password: keys.secrets["ana"]}} {
		c := mqtttest.Dial(t, n.inlets.Broker.Addr().String(), 4)
		if code, _, err := c.Enter(wrong); code != 5 || err != nil {
			t.Errorf("%+v: CONNACK %#x: %v", wrong, code, err)
		}
	}
	n.stop()
	for _, secret := range []string{keys.secrets["ana"], keys.secrets["bus"], "pl_wrong", "lat"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q: %s", secret, &log)
		}
	}
}

// A key that is revoked lets in neither the next message of an open connection nor the next
// connection.
func TestMQTTOfARevokedKey(t *testing.T) {
	keys := keysFile(t, auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}})
	n := drive(t, mqttConfig(t, access.Settings{Ways: []string{"keys"}, Keys: keys.path}))
	p := publisher(t, n, 4, mqtttest.Connect{User: "ana", Password: keys.secrets["ana"]})
	p.send(anas, fixOf(0))
	p.acknowledged()
	if err := auth.ChangeKeys(keys.path, func([]auth.KeyRow) ([]auth.KeyRow, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	for i, deadline := 1, time.Now().Add(time.Minute); ; i++ { // until the file is read again
		p.next++
		if p.Send(anas, fixOf(i), p.next) != nil {
			break
		}
		if got, err := p.Next(); err != nil {
			break
		} else if got.Type != mqtttest.Puback || time.Now().After(deadline) {
			t.Fatalf("a packet of type %d comes", got.Type)
		}
	}
	c := mqtttest.Dial(t, n.inlets.Broker.Addr().String(), 4)
	if code, _, err := c.Enter(mqtttest.Connect{User: "ana", Password: keys.secrets["ana"]}); code != 5 || err != nil {
		t.Errorf("CONNACK %#x: %v", code, err)
	}
}

// A node that takes no pings acknowledges none by MQTT, and takes what is sent again once
// there is room.
func TestMQTTUnderOverload(t *testing.T) {
	cfg := mqttConfig(t, access.Settings{Ways: []string{"none"}})
	cfg.ShedHold = time.Hour
	n := drive(t, cfg)
	p := publisher(t, n, 4, mqtttest.Connect{ID: "a"})
	p.send(anas, fixOf(0))
	p.acknowledged()
	n.over.Force(pingline.MaxLevel, false, "a test")
	p.send(anas, fixOf(1))
	n.until(`phone_requests_total{outcome="later",protocol="owntracks"}`)
	if !p.Quiet(50 * time.Millisecond) {
		t.Fatal("it is acknowledged")
	}
	_ = p.Close()
	n.over.Force(0, false, "")
	p = publisher(t, n, 4, mqtttest.Connect{ID: "a"})
	p.send(anas, fixOf(1))
	p.acknowledged()
	if got := n.metricsNow()[`pings_total{verdict="accepted"}`]; got != 2 {
		t.Errorf("%v accepted", got)
	}
}

// stalling stands before a server, and keeps from it all that comes while it is shut.
type stalling struct {
	net.Listener
	mu   sync.Mutex
	open *sync.Cond
	shut bool
	kept int // bytes
}

func stall(t *testing.T, to string) *stalling {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stalling{Listener: ln}
	s.open = sync.NewCond(&s.mu)
	t.Cleanup(func() {
		_ = ln.Close()
		s.set(false)
	})
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
			go func() { _, _ = io.Copy(c, up); _ = c.Close() }()
			go func() { _, _ = io.Copy(s.before(up), c); _ = up.Close() }()
		}
	}()
	return s
}

func (s *stalling) set(shut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut, s.kept = shut, 0
	s.open.Broadcast()
}

// keeps reports whether more than a heartbeat is kept.
func (s *stalling) keeps() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept > 100
}

type gated struct {
	io.Writer
	s *stalling
}

func (s *stalling) before(w io.Writer) io.Writer { return gated{w, s} }

func (g gated) Write(p []byte) (int, error) {
	g.s.mu.Lock()
	for g.s.kept += len(p); g.s.shut; {
		g.s.open.Wait()
	}
	g.s.mu.Unlock()
	return g.Writer.Write(p)
}

// natsStalling starts a NATS server with JetStream that syncs each message, behind a stalling.
func natsStalling(t *testing.T) *stalling {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: 16 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not get ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return stall(t, s.Addr().String())
}

// The acknowledgement of a message waits for the log that its ping goes into.
func TestMQTTWaitsForTheLog(t *testing.T) {
	log := natsStalling(t)
	cfg := mqttConfig(t, access.Settings{Ways: []string{"none"}})
	cfg.Queue = "nats://" + log.Addr().String()
	n := drive(t, cfg)
	for i, version := range []byte{4, 5} {
		p := publisher(t, n, version, mqtttest.Connect{ID: "a"})
		log.set(true)
		p.send(anas, fixOf(i))
		for deadline := time.Now().Add(2 * time.Minute); !log.keeps(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the log is sent nothing")
			}
		}
		if !p.Quiet(100 * time.Millisecond) {
			t.Fatal("something is answered while the log stalls")
		}
		log.set(false)
		p.acknowledged()
		if got := n.metricsNow()[`pings_total{verdict="accepted"}`]; got != float64(i+1) {
			t.Errorf("%v accepted when it is acknowledged", got)
		}
	}
}

// Over TLS a client certificate that names a rider lets its connection in without a key.
func TestMQTTOverTLS(t *testing.T) {
	ca := certstest.New(t, "ours")
	cfg := mqttConfig(t, access.Settings{Ways: []string{"cert"}})
	cfg.TLS = tlsFiles(ca)
	cfg.TLS.ClientCA = ca.File("ca.pem", ca.Text())
	n := drive(t, cfg)
	for name, tt := range map[string]struct {
		shown []certstest.Pair
		user  string
		code  byte
	}{
		"a certificate":                   {[]certstest.Pair{ca.Client("ana")}, "", 0},
		"a certificate and its rider":     {[]certstest.Pair{ca.Client("ana")}, "ana", 0},
		"a certificate and another rider": {[]certstest.Pair{ca.Client("ana")}, "bob", 5},
		"no certificate":                  {nil, "", 5},
		"no certificate, and a rider":     {nil, "ana", 5},
	} {
		conn, err := tls.Dial("tcp", n.inlets.Broker.Addr().String(), ca.Shown(tt.shown...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		p := &published{mqtttest.On(conn, 4), t, 0}
		if code, _, err := p.Enter(mqtttest.Connect{ID: "a", User: tt.user}); code != tt.code || err != nil {
			t.Errorf("%s: CONNACK %#x: %v", name, code, err)
		}
		if tt.code != 0 {
			continue
		}
		for _, topic := range []string{anas, "owntracks/bob/pixel"} {
			p.send(topic, fixOf(0))
			p.acknowledged()
		}
	}
	if got := n.metricsNow(); got[`pings_total{verdict="accepted"}`]+got[`pings_total{verdict="duplicate"}`] != 2 || got[`mqtt_messages_total{by="broker",outcome="foreign"}`] != 2 {
		t.Errorf("%v accepted, %v foreign", got[`pings_total{verdict="accepted"}`], got[`mqtt_messages_total{by="broker",outcome="foreign"}`])
	}
	if notes := n.Notes(); slices.ContainsFunc(notes, func(s string) bool { return strings.Contains(s, "--auth none") }) {
		t.Errorf("notes %q", cmp.Or(notes...))
	}
}
