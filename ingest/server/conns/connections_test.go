package conns

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"pingline/ingest/server/certs"
	"pingline/ingest/server/certs/certstest"
)

// caller is a connection of which only the other end and whether it is closed
// matter.
type caller struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (c *caller) RemoteAddr() net.Addr { return c.from }
func (c *caller) Close() error         { c.closed = true; return nil }

func TestWhichConnectionGoes(t *testing.T) {
	proxies := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::aa"), netip.MustParseAddr("2001:db8::bb")}
	type call struct {
		from string
		wait int64 // since when it waits; 0: its request is in work; below 0: within a request
	}
	for _, tt := range []struct {
		name   string
		calls  []call
		closed []int // positions; none: the next is turned away
	}{
		{"the longest waiting of one client", []call{{"192.0.2.1", 30}, {"192.0.2.1", 20}, {"192.0.2.1", 40}}, []int{1}},
		{"that of the client with most", []call{{"192.0.2.1", 5}, {"192.0.2.2", 30}, {"192.0.2.2", 20}}, []int{2}},
		{"the longest waiting of clients with as many", []call{{"192.0.2.1", 30}, {"192.0.2.2", 20}, {"192.0.2.3", 40}}, []int{1}},
		{"not one with a request in work", []call{{"192.0.2.1", 0}, {"192.0.2.1", 0}, {"192.0.2.1", 40}}, []int{2}},
		{"one between requests before one within one", []call{{"192.0.2.1", -10}, {"192.0.2.1", 40}, {"192.0.2.1", 30}}, []int{2}},
		{"within one, if the client with most has no other", []call{{"192.0.2.1", -20}, {"192.0.2.1", -10}, {"192.0.2.2", 5}}, []int{1}},
		{"of another, if all of the client with most are in work", []call{{"192.0.2.1", 0}, {"192.0.2.1", 0}, {"192.0.2.2", 40}}, []int{2}},
		{"none, if all are in work", []call{{"192.0.2.1", 0}, {"192.0.2.2", 0}}, nil},
		{"of a network of version 6", []call{{"2001:db8::1", 30}, {"2001:db8::ffff:2", 20}, {"192.0.2.1", 10}}, []int{1}},
		{"not of two networks of version 6", []call{{"2001:db8:0:1::1", 30}, {"2001:db8:0:2::1", 20}, {"192.0.2.1", 10}}, []int{2}},
		{"4 in 6 is 4", []call{{"::ffff:192.0.2.1", 30}, {"192.0.2.1", 20}, {"192.0.2.2", 10}}, []int{1}},
		{"not our proxy's", []call{{"10.0.0.1", 10}, {"10.0.0.1", 20}, {"192.0.2.1", 30}}, []int{2}},
		{"our proxy's, if there is no other", []call{{"10.0.0.1", 10}, {"10.0.0.1", 5}}, []int{1}},
		{"not our proxy's, which came behind a client of its network", []call{{"2001:db8::1", 30}, {"2001:db8::aa", 10}, {"2001:db8::aa", 20}}, []int{0}},
		{"not our proxies', which came before a client of their network", []call{{"2001:db8::aa", 10}, {"2001:db8::bb", 20}, {"2001:db8::1", 30}}, []int{2}},
		{"a hundredth of a crowd, and one", slices.Concat(slices.Repeat([]call{{"192.0.2.1", 10}}, 250), []call{{"192.0.2.1", 5}, {"192.0.2.2", 1}}), []int{250, 0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := connections{most: len(tt.calls), peers: map[peerKey]*peer{}, ours: func(a netip.Addr) bool { return slices.Contains(proxies, a) }}
			var callers []*caller
			add := func(from string) *Conn {
				addr := netip.MustParseAddr(from)
				callers = append(callers, &caller{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 1))})
				return l.add(callers[len(callers)-1])
			}
			var all []*Conn
			for _, c := range tt.calls {
				own := add(c.from)
				own.waits.Store(max(c.wait, -c.wait))
				own.within.Store(c.wait < 0)
				all = append(all, own)
			}
			if last := add("198.51.100.1"); (last == nil) != (tt.closed == nil) {
				t.Errorf("the next has a place: %v", last != nil)
			} else if last != nil {
				all = append(all, last)
			}
			closed := 0
			for i, c := range callers {
				if c.closed {
					closed++
				}
				if len(tt.closed) < 3 && c.closed != slices.Contains(tt.closed, i) {
					t.Errorf("connection %d is closed: %v", i, c.closed)
				}
			}
			if closed != len(tt.closed) {
				t.Errorf("%d were closed, want %d", closed, len(tt.closed))
			}
			for _, c := range all {
				_ = c.Close()
			}
			if len(l.list) != 0 || len(l.peers) != 0 {
				t.Errorf("with all closed, %d connections of %d clients are counted", len(l.list), len(l.peers))
			}
		})
	}
}

// lacking is a listener for which the system has had no file twice.
type lacking struct {
	net.Listener
	tries int
}

func (l *lacking) Accept() (net.Conn, error) {
	if l.tries++; l.tries <= 2 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestTooManyOpenFilesPass(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(&lacking{Listener: ln}, Config{Most: 1, Ours: func(netip.Addr) bool { return false }})
	go func() {
		if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			_ = c.Close()
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept after EMFILE: %v", err)
	}
	_ = c.Close()
	_ = ln.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed listener: %v", err)
	}
}

// A connection that was displaced before its handshake takes a deadline as if it were open:
// fasthttp would panic.
func TestDeadlineOfADisplacedSecureConnection(t *testing.T) {
	ca := certstest.New(t, "ours")
	server := ca.Server()
	secured, err := certs.Open(certs.Config{Cert: ca.File("server.pem", server.Text), Key: ca.File("server.key", server.Key)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(ln, Config{Most: 1, Ours: func(netip.Addr) bool { return false }, TLS: secured})
	defer l.Close()
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		open = append(open, in)
	}
	if st := l.Stats(); st.Displaced != 1 {
		t.Fatalf("%+v", st)
	}
	first, ok := open[0].(*Secured)
	if !ok {
		t.Fatalf("a connection is a %T", open[0])
	}
	if err := errors.Join(first.SetReadDeadline(time.Now()), first.SetWriteDeadline(time.Now())); err != nil {
		t.Error(err)
	}
	if err := first.Handshake(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("its handshake: %v", err)
	}
	LimitBuffer(open[1])
	if LeaveUnread(open[1]); !of(open[1]).bounded || !of(open[1]).unread.Load() {
		t.Error("a connection of TLS is none of ours")
	}
}
