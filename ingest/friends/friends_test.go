package friends

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
)

// connected stands for a connection.
type connected struct{ net.Conn }

func (connected) LocalAddr() net.Addr { return &net.TCPAddr{} }

// Friends are those that the key names, by the newest of their tracks, and each is told.
func TestFriends(t *testing.T) {
	at := func(device string, ms int64) dedupe.NewestKnown {
		return dedupe.NewestKnown{Device: device, Fix: pingline.Fix{At: ms}}
	}
	var asked, read []string
	var trouble error
	c := New(Config{
		States: func(riders []string) ([]ingest.RiderState, error) {
			asked = riders
			list := make([]ingest.RiderState, len(riders))
			for i, r := range riders {
				list[i].Rider = r
				if r != "lost" {
					list[i].Tracks = []dedupe.NewestKnown{at("old", 1), at("new", 3), at("other", 2)}
				}
			}
			return list, trouble
		},
		Read: func(_ *auth.Identity, rider string, client netip.Addr) {
			read = append(read, rider+" "+client.String())
		},
	})
	client, local := netip.MustParseAddr("192.0.2.1"), connected{}
	id := &auth.Identity{Rider: "ana", Friends: []string{"ben", "lost", "ana", "zoe"}}
	show := func() (got []string) {
		seq := c.Of(id, client, local)
		for f := range seq {
			got = append(got, fmt.Sprint(f.Rider, " ", f.Device, " ", f.Fix.At, " ", f.Known))
		}
		return got
	}
	if got := show(); !slices.Equal(got, []string{"ben new 3 true", "lost  0 false", "zoe new 3 true"}) || !slices.Equal(asked, id.Friends) || !slices.Equal(read, []string{"ben 192.0.2.1", "zoe 192.0.2.1"}) {
		t.Errorf("%q; asked for %q, told %q", got, asked, read)
	}
	if show(); len(read) != 2 {
		t.Errorf("told again within a minute: %q", read)
	}
	trouble = errors.New("the log takes no pings")
	if got := show(); got != nil {
		t.Errorf("in trouble: %q", got)
	}
	for name, none := range map[string]func() bool{
		"none":             func() bool { return (*Friends)(nil).Of(id, client, local) == nil },
		"no friends":       func() bool { return c.Of(&auth.Identity{Rider: "ana"}, client, local) == nil },
		"by no connection": func() bool { return c.Of(id, client, nil) == nil },
	} {
		if !none() {
			t.Errorf("%s: there are friends", name)
		}
	}
}

// A key that ended while the body of its request was on the way is shown nobody.
func TestFriendsOfAKeyThatEnded(t *testing.T) {
	c := New(Config{States: func(riders []string) ([]ingest.RiderState, error) {
		list := make([]ingest.RiderState, len(riders))
		for i := range list {
			list[i].Tracks = []dedupe.NewestKnown{{Fix: pingline.Fix{At: 1}}}
		}
		return list, nil
	}})
	ended := new(atomic.Bool)
	id := auth.NewIdentity("ana", auth.Write, auth.Everyone, time.Time{}, ended)
	id.Friends = []string{"ben"}
	seq := c.Of(id, netip.Addr{}, connected{})
	if n := len(slices.Collect(seq)); n != 1 {
		t.Errorf("%d friends", n)
	}
	ended.Store(true)
	for f := range seq {
		t.Errorf("%s is shown", f.Rider)
	}
}
