package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/mqtt/mqtttest"
	"pingline/internal/influxd"
)

// mosquitto returns the path of a program of mosquitto, or skips the test where there is none.
func mosquitto(t *testing.T, name string) string {
	t.Helper()
	for _, at := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	t.Skipf("there is no %s: apt-get install mosquitto mosquitto-clients", name)
	return ""
}

// messages are fixes of a rider as OwnTracks sends them, a second apart, and how they are
// stored.
type messages struct {
	rider string
	began time.Time
}

func (m messages) topic() string { return "owntracks/" + m.rider + "/pixel" }

func (m messages) text(i int) string {
	return fmt.Sprintf(`{"_type":"location","acc":5,"lat":%.3f,"lon":-8.629,"tid":"an","tst":%d}`, 41+float64(i)/1000, m.began.Unix()+int64(i))
}

// stored waits until n messages are in the store, and reports a message that is missing, or
// there twice.
func (m messages) stored(t *testing.T, store *influxd.Server, n int) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint((m.began.Unix()+int64(i))*1e9))
	}
	var got []string
	eventually(t, fmt.Sprintf("%d points of %s are stored", n, m.rider), func() bool {
		points, err := store.Points(t.Context(), "pingline")
		if err != nil {
			t.Fatal(err)
		}
		got = got[:0]
		for _, p := range points {
			if strings.HasPrefix(p, "location,") && strings.Contains(p, ",rider="+m.rider+" ") {
				got = append(got, p[strings.LastIndexByte(p, ' ')+1:])
			}
		}
		return len(got) >= n
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d points are stored, want %d: %v", len(got), len(want), got)
	}
}

// app is OwnTracks by MQTT: it keeps its session, and sends a message again, on a new
// connection, until it is acknowledged (owntracks/android: MQTTMessageProcessorEndpoint.kt).
type app struct {
	addr, key string
	messages
	conn *mqtttest.Publisher
}

func (a *app) deliver(t *testing.T, i int) {
	id := uint16(i + 1)
	for again := false; ; again = true {
		if a.conn == nil {
			c, err := mqtttest.Redial(t, a.addr, 4)
			if err != nil {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			if code, _, err := c.Enter(mqtttest.Connect{ID: a.rider, User: a.rider, Password: a.key, Keep: true}); err != nil || code != 0 {
				_ = c.Close()
				continue
			}
			a.conn = c
		}
		_, err := a.conn.Write(mqtttest.Publish(4, a.topic(), a.text(i), 1, id, again))
		if err == nil {
			var p mqtttest.Packet
			if p, err = a.conn.Next(); err == nil && p.Type == mqtttest.Puback && p.Body[0] == byte(id>>8) && p.Body[1] == byte(id) {
				return
			}
		}
		_ = a.conn.Close()
		a.conn = nil
	}
}

// A server that is killed again and again while phones publish to it by MQTT has all that it
// has acknowledged.
func TestKilledBroker(t *testing.T) {
	const each, kills = 300, 3
	store := startInflux(t)
	dir, addr := t.TempDir(), freePort(t)
	keys := dir + "/keys"
	secret, hash := auth.NewSecret()
	if err := auth.ChangeKeys(keys, func([]auth.KeyRow) ([]auth.KeyRow, error) {
		return []auth.KeyRow{{Name: "fleet", Scopes: []string{"write"}, Riders: []string{"m-*"}, Hash: hash}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	start := func() *process {
		return serve(t, dir+"/data", store.URL(), "--mqtt-listen="+addr, "--auth=keys", "--keys="+keys, "--max-error=0", "--accuracy-cap=0", "--rider-rate=0")
	}
	p := start()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	done := make(chan int, 4*each)
	for rider := range 3 {
		go func() {
			a := &app{addr: addr, key: secret, messages: messages{fmt.Sprint("m-", rider), began}}
			for i := range each {
				a.deliver(t, i)
				done <- 1
			}
		}()
	}
	for n := range 3 * each {
		<-done
		if n > 0 && n%(3*each/(kills+1)) == 0 {
			p.kill()
			p = start()
		}
	}
	for rider := range 3 {
		messages{fmt.Sprint("m-", rider), began}.stored(t, store, each)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("it exits with %d", code)
	}
	if strings.Contains(p.said(), secret) {
		t.Error("the log has the key")
	}
}

// mosquitto_pub publishes as OwnTracks does, also to a server that is killed.
func TestKilledBrokerOfMosquittoPub(t *testing.T) {
	const n = 40
	publish := mosquitto(t, "mosquitto_pub")
	store := startInflux(t)
	dir, addr := t.TempDir(), freePort(t)
	host, port, _ := strings.Cut(addr, ":")
	start := func() *process {
		return serve(t, dir, store.URL(), "--mqtt-listen="+addr, "--max-error=0", "--accuracy-cap=0")
	}
	p := start()
	m := messages{"ana", time.Now().Add(-time.Hour).Truncate(time.Second)}
	for i := range n {
		if i%15 == 14 {
			p.kill()
			p = start()
		}
		version, qos := []string{"mqttv31", "mqttv311", "mqttv5"}[i%3], fmt.Sprint(1+i%2)
		eventually(t, "a message is acknowledged", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, publish, "-h", host, "-p", port, "-V", version, "-q", qos, "-r", "-i", "ana-pixel",
				"--will-topic", m.topic(), "--will-payload", `{"_type":"lwt","tst":1}`, "-t", m.topic(), "-m", m.text(i)).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Logf("mosquitto_pub: %v: %s", err, out)
			}
			return err == nil
		})
	}
	m.stored(t, store, n)
	wrong, err := exec.CommandContext(t.Context(), publish, "-h", host, "-p", port, "-q", "1", "-t", "elsewhere", "-m", "x").CombinedOutput()
	if err != nil {
		t.Errorf("a message to another topic: %v: %s", err, wrong)
	}
}

// upstream is a mosquitto of others, on a port and a directory that stay.
type upstream struct {
	t    *testing.T
	addr string
	conf string
	cmd  *exec.Cmd
}

func (u *upstream) start() {
	u.t.Helper()
	u.cmd = exec.Command(mosquitto(u.t, "mosquitto"), "-c", u.conf)
	if err := u.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	eventually(u.t, "mosquitto listens", func() bool {
		c, err := mqtttest.Redial(u.t, u.addr, 4)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (u *upstream) stop() {
	_ = u.cmd.Process.Signal(syscall.SIGTERM)
	_ = u.cmd.Wait()
}

// A server that is killed, and a broker that starts again, while phones publish to that broker:
// all that the broker has acknowledged is stored.
func TestKilledSubscriber(t *testing.T) {
	const n = 200
	mosquitto(t, "mosquitto")
	passwd := mosquitto(t, "mosquitto_passwd")
	store := startInflux(t)
	dir := t.TempDir()
	broker := &upstream{t: t, addr: freePort(t), conf: dir + "/mosquitto.conf"}
	_, port, _ := strings.Cut(broker.addr, ":")
	write := func(name, text string) string {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir + "/" + name
	}
	users := write("users", "")
	for user, password := range map[string]string{"pingline": "hunter2-of-pingline", "ana": "hunter2-of-ana"} {
		if out, err := exec.Command(passwd, "-b", users, user, password).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	write("mosquitto.conf", fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous false\npassword_file %s\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nuser root\n", port, users, dir))
	broker.start()
	defer func() { broker.stop() }()
	start := func() *process {
		return serve(t, dir+"/data", store.URL(), "--mqtt-broker=mqtt://pingline@"+broker.addr, "--mqtt-broker-password-file="+write("password", "hunter2-of-pingline\n"),
			"--node=n", "--auth=keys", "--keys="+write("keys", ""), "--max-error=0", "--accuracy-cap=0")
	}
	p := start()
	eventually(t, "it subscribes", func() bool {
		v, err := p.metric("pingline_mqtt_subscribed")
		return err == nil && v == 1
	})
	a := &app{addr: broker.addr, key: "hunter2-of-ana", messages: messages{"ana", time.Now().Add(-time.Hour).Truncate(time.Second)}}
	for i := range n {
		switch a.deliver(t, i); i {
		case n / 5, 3 * n / 5:
			p.kill()
		case 2 * n / 5, 4 * n / 5:
			p = start()
		case n / 2, 9 * n / 10:
			broker.stop()
			broker.start()
		}
	}
	a.stored(t, store, n)
	if code := p.terminate(); code != 0 {
		t.Errorf("it exits with %d", code)
	}
	if strings.Contains(p.said(), "hunter2") {
		t.Error("the log has a password")
	}
}
