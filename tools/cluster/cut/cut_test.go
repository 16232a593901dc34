package cut

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo is a server that answers each line.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

func open(t *testing.T) (*Relay, net.Conn, *bufio.Reader) {
	t.Helper()
	r, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return r, c, bufio.NewReader(c)
}

func ask(t *testing.T, c net.Conn, r *bufio.Reader, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if got, err := r.ReadString('\n'); err != nil || got != text {
		t.Fatalf("%q is answered by %q, %v", text, got, err)
	}
}

// Bytes that are held by a cut of either direction come in order once the last cut is healed, even
// if their sender is gone.
func TestHeldAndDelivered(t *testing.T) {
	for _, tt := range []struct{ to, from bool }{{true, false}, {false, true}, {true, true}} {
		r, c, in := open(t)
		ask(t, c, in, "before\n")
		heal, again := r.Cut(tt.to, tt.from), r.Cut(tt.to, tt.from)
		if _, err := io.WriteString(c, "held\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		heal(true)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if got, err := in.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%+v: %q, %v comes through a cut", tt, got, err)
		}
		_ = c.SetReadDeadline(time.Time{})
		again(true)
		if all, err := io.ReadAll(in); err != nil || string(all) != "held\n" {
			t.Errorf("%+v: %q, %v comes afterwards", tt, all, err)
		}
	}
}

// Bytes that are not delivered are gone with their connection; new connections are whole.
func TestHeldAndDropped(t *testing.T) {
	r, c, in := open(t)
	ask(t, c, in, "before\n")
	heal := r.Cut(true, false)
	if _, err := io.WriteString(c, "held\n"); err != nil {
		t.Fatal(err)
	}
	late, err := net.Dial("tcp", r.Addr()) // a connection that is made meanwhile
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Close() }()
	heal(false)
	if all, err := io.ReadAll(in); len(all) > 0 || err == nil {
		t.Errorf("%q, %v comes afterwards, want a reset", all, err)
	}
	next, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	ask(t, next, bufio.NewReader(next), "after\n")
}

// A server that is not there refuses, and one that goes takes its connections along.
func TestServerGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := ln.Addr().String()
	_ = ln.Close()
	r, err := New(to)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		return // refused so early
	}
	defer func() { _ = c.Close() }()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("it reads %d, %v", n, err)
	}
}
