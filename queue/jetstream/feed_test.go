package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

const patience = 10 * time.Minute

// startNATS runs a server with JetStream, on a port or, if that is server.RANDOM_PORT, on any.
func startNATS(t *testing.T, dir string, port int) (url string, at int, stop func()) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats-server did not start")
	}
	stop = func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	t.Cleanup(stop)
	return srv.ClientURL(), srv.Addr().(*net.TCPAddr).Port, stop
}

func openFeed(t *testing.T, url string, change func(*FeedConfig)) *Feed {
	t.Helper()
	cfg := FeedConfig{URL: url, Stream: "FEED", MaxBytes: 1 << 20, MaxAge: time.Hour, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	f, err := OpenFeed(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func feedAppend(t *testing.T, f *Feed, text string) uint64 {
	t.Helper()
	n, err := f.Append(t.Context(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// feedRead returns all messages from a number on, each as its number and the beginning of its text.
func feedRead(t *testing.T, f *Feed, from uint64) (list []string) {
	t.Helper()
	for {
		n := len(list)
		err := f.Read(t.Context(), from, func(number uint64, at int64, b []byte) error {
			if number < from {
				t.Errorf("message %d behind %d", number, from)
			}
			if age := time.Since(time.UnixMilli(at)); age < -time.Second || age > time.Hour {
				t.Errorf("message %d came %v ago", number, age)
			}
			list = append(list, fmt.Sprint(number, " ", strings.TrimRight(string(b), ".")))
			from = number + 1
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == n {
			return list
		}
	}
}

func wantFeed(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}

func wantWhole(t *testing.T, f *Feed, want bool) {
	t.Helper()
	if whole, err := f.Whole(t.Context()); err != nil || whole != want {
		t.Errorf("Whole = %v, %v, want %v", whole, err, want)
	}
}

// Two processes append to a feed, and each reads all of it; a message in the middle of it that is
// gone is left out, and its numbers go on in a stream that was made anew.
func TestFeed(t *testing.T) {
	url, _, _ := startNATS(t, t.TempDir(), server.RANDOM_PORT)
	a, b := openFeed(t, url, nil), openFeed(t, url, nil)
	first := feedAppend(t, a, "1")
	wantWhole(t, b, true)
	second, third := feedAppend(t, b, "2"), feedAppend(t, a, "3")
	all := []string{fmt.Sprint(first, " 1"), fmt.Sprint(second, " 2"), fmt.Sprint(third, " 3")}
	wantFeed(t, feedRead(t, a, 0), all...)
	wantFeed(t, feedRead(t, b, first+1), all[1:]...)
	wantFeed(t, feedRead(t, b, third+1))
	stream, err := a.js.Stream(t.Context(), "FEED")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	wantFeed(t, feedRead(t, b, 0), all[0], all[2])
	if err := a.js.DeleteStream(t.Context(), "FEED"); err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if n, err := b.Append(brief, []byte("lost")); err == nil {
		t.Fatalf("message %d is in a stream that was deleted", n)
	}
	again := feedAppend(t, b, "4")
	if again <= third {
		t.Errorf("number %d comes behind %d", again, third)
	}
	wantFeed(t, feedRead(t, a, third+1), fmt.Sprint(again, " 4"))
}

// The oldest messages go at the limits, which the next process may change, and the numbers tell of it.
func TestFeedLimits(t *testing.T) {
	url, _, _ := startNATS(t, t.TempDir(), server.RANDOM_PORT)
	f := openFeed(t, url, func(c *FeedConfig) { c.MaxBytes = 64 << 10 })
	pad := strings.Repeat(".", 10<<10)
	var first, last uint64
	for i := range 20 {
		last = feedAppend(t, f, fmt.Sprint(i, pad))
		if i == 0 {
			first = last
		}
	}
	wantWhole(t, f, false)
	list := feedRead(t, f, first)
	if len(list) == 0 || len(list) > 6 || list[len(list)-1] != fmt.Sprint(last, " 19") {
		t.Errorf("messages %q, want the newest six or fewer of 64 KiB, up to %d", list, last)
	}
	brief := openFeed(t, url, func(c *FeedConfig) { c.MaxBytes, c.MaxAge = 64<<10, 200*time.Millisecond })
	next := feedAppend(t, brief, "brief")
	for limit := time.Now().Add(patience); len(feedRead(t, f, first)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("no message goes for its age")
		}
	}
	wantWhole(t, brief, false)
	if n := feedAppend(t, f, "later"); n <= next {
		t.Errorf("number %d comes behind %d", n, next)
	}
}

// While the server is away requests fail, and then go on with all that was there.
func TestFeedServerIsAway(t *testing.T) {
	dir := t.TempDir()
	url, port, stop := startNATS(t, dir, server.RANDOM_PORT)
	f := openFeed(t, url, nil)
	first := feedAppend(t, f, "1")
	stop()
	brief, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := f.Append(brief, []byte("lost")); err == nil {
		t.Error("a server that is away takes a message")
	}
	if err := f.Read(brief, first, func(uint64, int64, []byte) error { return nil }); err == nil {
		t.Error("messages of a server that is away can be read")
	}
	if _, err := f.Whole(brief); err == nil {
		t.Error("the state of a server that is away is known")
	}
	startNATS(t, dir, port)
	var second uint64
	for limit := time.Now().Add(patience); second == 0; time.Sleep(10 * time.Millisecond) {
		n, err := f.Append(t.Context(), []byte("2"))
		if err == nil {
			second = n
		} else if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
	wantFeed(t, feedRead(t, f, 0), fmt.Sprint(first, " 1"), fmt.Sprint(second, " 2"))
	wantWhole(t, f, true)
}

// An error of the caller ends a read, and is passed on.
func TestFeedPassesOn(t *testing.T) {
	url, _, _ := startNATS(t, t.TempDir(), server.RANDOM_PORT)
	f := openFeed(t, url, nil)
	for i := range 3 {
		feedAppend(t, f, fmt.Sprint(i))
	}
	n := 0
	err := f.Read(t.Context(), 0, func(uint64, int64, []byte) error {
		n++
		return jetstream.ErrMsgNotFound
	})
	if err != jetstream.ErrMsgNotFound || n != 1 { //nolint:errorlint // it is that error
		t.Errorf("Read = %v behind %d messages, want the error of the first", err, n)
	}
}
