package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pingline/ingest/mqtt/mqtttest"
	"pingline/ingest/server/share"
)

// stream is a connection by which bytes come, a few at a time, and then its end.
type stream struct {
	net.Conn
	bytes []byte
	each  int
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(1, s.each))], s.bytes)
	s.bytes = s.bytes[n:]
	return n, nil
}

func (s *stream) SetReadDeadline(time.Time) error { return nil }
func (s *stream) Close() error                    { return nil }

func limited(payload int, budget int64) *Caps {
	return &Caps{MaxPayload: payload, Budget: share.New(budget)}
}

// all reads a link until it ends, in pieces of n bytes, and returns also the cut of each packet
// that has one.
func all(l *Link, n int) (passed []byte, cuts []int, err error) {
	p := make([]byte, n)
	for was := 0; ; {
		n, err := l.Read(p)
		passed = append(passed, p[:n]...)
		if cut := l.Cut(); cut != was {
			if was = cut; cut > 0 {
				cuts = append(cuts, cut)
			}
		}
		if err != nil {
			return passed, cuts, err
		}
	}
}

func hello(version byte) []byte {
	return (&mqtttest.Connect{ID: "phone", User: "ana", Password: "pl_x", Will: &mqtttest.Will{Topic: "owntracks/ana/pixel", Payload: `{"_type":"lwt"}`}}).Bytes(version)
}

func TestPacketsPassAsTheyAre(t *testing.T) {
	for _, version := range []byte{3, 4, 5} {
		sent := bytes.Join([][]byte{
			hello(version),
			mqtttest.Publish(version, "owntracks/ana/pixel", strings.Repeat("x", 9000), 1, 7, false),
			mqtttest.Publish(version, "owntracks/ana/pixel", "", 0, 0, false), mqtttest.Pingreq, mqtttest.Subscribe(version, "owntracks/+/+"), mqtttest.Leaving,
		}, nil)
		for _, each := range []int{1, 7, 1 << 20} {
			l := New(&stream{bytes: bytes.Clone(sent), each: each}, limited(9000, 1<<20), 1, false)
			got, cuts, err := all(l, 100)
			if !bytes.Equal(got, sent) || cuts != nil || err != io.EOF {
				t.Errorf("version %d, %d at once: %d of %d bytes pass, cut %v: %v", version, each, len(got), len(sent), cuts, err)
			}
			if l.limits.Budget.Used() != 0 {
				t.Errorf("%d bytes of the budget are left in use", l.limits.Budget.Used())
			}
		}
	}
}

// A message that is too large passes without its payload, and what is behind it as it is.
func TestMessageIsCut(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for _, qos := range []byte{0, 1, 2} {
			large := strings.Repeat("x", 300_000)
			sent := bytes.Join([][]byte{hello(version), mqtttest.Publish(version, "owntracks/ana/pixel", large, qos, 7, true), mqtttest.Pingreq}, nil)
			want := bytes.Join([][]byte{hello(version), mqtttest.Publish(version, "owntracks/ana/pixel", "", qos, 7, true), mqtttest.Pingreq}, nil)
			l := New(&stream{bytes: sent, each: 5000}, limited(1000, 1<<20), 1, false)
			got, cuts, err := all(l, 100)
			if !bytes.Equal(got, want) || len(cuts) != 1 || cuts[0] != len(large) || err != io.EOF {
				t.Errorf("version %d, QoS %d: %x, want %x; cut %v: %v", version, qos, got, want, cuts, err)
			}
		}
	}
}

func TestWrongPackets(t *testing.T) {
	whole := hello(4)
	for name, tt := range map[string]struct {
		sent []byte
		want string
	}{
		"no CONNECT":       {mqtttest.Pingreq, "the first packet is no CONNECT"},
		"a long length":    {[]byte{0x10, 0xff, 0xff, 0xff, 0xff, 0x01}, "the length of a packet has more than 4 bytes"},
		"a long CONNECT":   {append([]byte{0x10, 0x80, 0x80, 0x02}, make([]byte, 40_000)...), "a packet of type 1 has 32768 bytes, more than 16384"},
		"a short CONNECT":  {[]byte{0x10, 1, 0}, "a CONNECT is too short"},
		"no protocol":      {[]byte{0x10, 4, 0, 9, 'M', 'Q'}, "a CONNECT names no protocol that is known"},
		"a long SUBSCRIBE": {append(bytes.Clone(whole), append([]byte{0x82, 0x80, 0x80, 0x02}, make([]byte, 40_000)...)...), "a packet of type 8 has 32768 bytes, more than 16384"},
		"a message of topic only": {append(bytes.Clone(whole), append([]byte{0x32, 0x80, 0x80, 0x04, 0x20, 0}, make([]byte, 70_000)...)...),
			"a message of 65536 bytes has a longer topic, or more properties, than 4096 bytes"},
		"more than the budget": {append(bytes.Clone(whole), mqtttest.Publish(4, "t", strings.Repeat("x", 8000), 1, 1, false)...),
			"packets in work take more than 20000 bytes, or a quarter of that from this client"},
		"half a packet": {whole[:9], "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(&stream{bytes: tt.sent, each: 100}, limited(8000, 20_000), 1, false)
			if _, _, err := all(l, 100); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if l.Free(); l.limits.Budget.Used() != 0 {
				t.Errorf("%d bytes of the budget are left in use", l.limits.Budget.Used())
			}
		})
	}
}

// A packet holds its part of the budget until the next one is asked for.
func TestBudget(t *testing.T) {
	sent := append(hello(4), mqtttest.Publish(4, "t", strings.Repeat("x", 8000), 1, 1, false)...)
	l := New(&stream{bytes: sent, each: 1 << 20}, limited(9000, 1<<20), 1, false)
	p := make([]byte, len(sent))
	if _, err := io.ReadFull(l, p); err != nil {
		t.Fatal(err)
	}
	if used := l.limits.Budget.Used(); used < copies*8000 {
		t.Errorf("a packet of 8 kB in work takes %d bytes", used)
	}
	l.Free()
	if used := l.limits.Budget.Used(); used != 0 {
		t.Errorf("%d bytes are in use", used)
	}
}

// Told to leave, a link passes the packet in work, and ends before the next one.
func TestLeave(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	l := New(ours, limited(100, 1000), 1, false)
	ended := make(chan error, 1)
	go func() {
		_, _, err := all(l, 100)
		ended <- err
	}()
	if _, err := theirs.Write(hello(4)); err != nil {
		t.Fatal(err)
	}
	l.Leave()
	if err := <-ended; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("it ends with %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	<-l.Done()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// split returns the packets of bytes, until one that is not whole or wrong.
func split(b []byte) (packets [][]byte) {
	for len(b) > 1 {
		size, n := 0, 1
		for {
			if n > 4 || n >= len(b) {
				return packets
			}
			d := b[n]
			size |= int(d&0x7f) << (7 * (n - 1))
			if n++; d&0x80 == 0 {
				break
			}
		}
		if n+size > len(b) {
			return packets
		}
		packets, b = append(packets, b[:n+size]), b[n+size:]
	}
	return packets
}

// Whatever comes, what passes is a prefix of the packets that came, but for those that were
// cut, and no packet that passes is larger than it may be.
func FuzzLink(f *testing.F) {
	f.Add(append(hello(4), mqtttest.Publish(4, "owntracks/a/b", "x", 1, 1, false)...), 3)
	f.Add(append(hello(5), mqtttest.Publish(5, "owntracks/a/b", strings.Repeat("x", 10_000), 2, 1, false)...), 100)
	f.Add(append(hello(3), mqtttest.Pingreq...), 1)
	f.Fuzz(func(t *testing.T, sent []byte, each int) {
		const payload = 100
		l := New(&stream{bytes: bytes.Clone(sent), each: each}, limited(payload, 1<<20), 1, false)
		got, _, err := all(l, 64)
		if err == nil {
			t.Fatal("a link does not end")
		}
		l.Free()
		if l.limits.Budget.Used() != 0 {
			t.Errorf("%d bytes of the budget are left in use", l.limits.Budget.Used())
		}
		came := split(sent)
		for i, p := range split(got) {
			if len(p) > otherBytes+5 && len(p) > payload+headBytes+5 {
				t.Errorf("a packet of %d bytes passes", len(p))
			}
			if i >= len(came) || p[0] != came[i][0] || len(came[i]) <= payload+headBytes && !bytes.Equal(p, came[i]) {
				t.Fatalf("packet %d passes as %.40x", i, p)
			}
		}
	})
}
