package aside

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestNoSecondAddress(t *testing.T) {
	a, err := Open(Config{Flag: "x-listen", Path: "/v1/x"})
	if a != nil || err != nil || a.Addr() != nil {
		t.Fatalf("%v, %v", a, err)
	}
	main := listen(t)
	if ln := a.Join(main); ln != main {
		t.Errorf("a listener that is joined with nothing is %T", ln)
	}
	a.Serve(nil)
}

func TestAddressThatIsTaken(t *testing.T) {
	_, err := Open(Config{Flag: "x-listen", Listen: listen(t).Addr().String(), Path: "/v1/x"})
	if err == nil || !strings.HasPrefix(err.Error(), "--x-listen: ") {
		t.Errorf("error %v, want one that names the flag", err)
	}
}

// Connections of both come, and Close closes both, whoever waits.
func TestJoin(t *testing.T) {
	main := listen(t)
	a, err := Open(Config{Flag: "x-listen", Listen: "127.0.0.1:0", Path: "/v1/x"})
	if err != nil {
		t.Fatal(err)
	}
	ln := a.Join(main)
	if ln.Addr() != main.Addr() {
		t.Errorf("its address is %v, want %v", ln.Addr(), main.Addr())
	}
	for _, at := range []net.Addr{a.Addr(), main.Addr(), a.Addr()} {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		in, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if in.LocalAddr().String() != at.String() || a.took(in.LocalAddr()) != (at == a.Addr()) {
			t.Errorf("a connection to %v came by %v, by the second address: %v", at, in.LocalAddr(), a.took(in.LocalAddr()))
		}
	}
	waiting, err := net.Dial("tcp", a.Addr().String()) // nobody accepts it
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing it again: %v", err)
	}
	if c, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, %v of a closed listener", c, err)
	}
	for _, at := range []net.Addr{a.Addr(), main.Addr()} {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			_ = c.Close()
			t.Errorf("%v is still open", at)
		}
	}
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that nobody took is open")
	}
}

func TestTook(t *testing.T) {
	tcp := func(text string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, tt := range []struct {
		second, own string
		want        bool
	}{
		{"[::]:5055", "192.0.2.1:5055", true},
		{"[::]:5055", "[::ffff:192.0.2.1]:5055", true},
		{"0.0.0.0:5055", "192.0.2.1:8080", false},
		{"192.0.2.1:5055", "[::ffff:192.0.2.1]:5055", true},
		{"192.0.2.1:5055", "192.0.2.2:5055", false},
		{"[::1]:5055", "[::1]:5055", true},
	} {
		a := &Address{ln: fixed{at: tcp(tt.second)}}
		if got := a.took(tcp(tt.own)); got != tt.want {
			t.Errorf("%s, %s: %v", tt.second, tt.own, got)
		}
	}
}

type fixed struct {
	net.Listener
	at net.Addr
}

func (f fixed) Addr() net.Addr { return f.at }

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}
