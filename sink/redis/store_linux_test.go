package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/sink/redis/redistest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// ping returns a ping of a rider.
func ping(rider string, at int64) pingline.Entry {
	e := storetest.Fleet(1, 1)[0]
	e.Rider, e.At = rider, at
	if err := e.SetPosition(41.1578, -8.6291); err != nil {
		panic(err)
	}
	return e
}

// Writers write on while the server is killed, again and again: when all writes were taken
// in the end, each rider is where the newest ping says.
func TestKilledInTheMiddleOfWrites(t *testing.T) {
	server := redistest.Run(t)
	p := open(t, config(server))
	const writers, batches, lines = 3, 20, 200
	done := make(chan struct{}, writers*batches)
	want := make(map[string]int64)
	var wg sync.WaitGroup
	for w := range writers {
		list := storetest.Fleet(uint64(w), batches*lines)
		for i := range list {
			want[list[i].Rider] = max(want[list[i].Rider], list[i].At)
		}
		wg.Go(func() {
			for b := range batches {
				rows := storeRows(p, list[b*lines:(b+1)*lines]...)
				for {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					err := p.Write(ctx, rows)
					cancel()
					if err == nil {
						break
					}
					if r := new(store.Refusal); !errors.As(err, &r) || r.Kind != store.Retry {
						t.Errorf("a write into a dead server is refused with %v", err)
						return
					}
				}
				done <- struct{}{}
			}
		})
	}
	for range 3 {
		for range writers * batches / 4 {
			<-done
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	got := newest(t, p)
	for rider, at := range want {
		if got[rider].At != at {
			t.Errorf("%s is of %d, want %d", rider, got[rider].At, at)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d riders, want %d", len(got), len(want))
	}
}

// A position can be found by its rider and by its place, and a field that the newest ping
// does not have is gone.
func TestKeys(t *testing.T) {
	server := redistest.Run(t)
	p := open(t, config(server))
	first := ping("me", storetest.Recently)
	first.Trip = "to work"
	first.SetOptional(pingline.HasSpeed, 7.5)
	pole := ping("amundsen", storetest.Recently)
	written(t, p, first, pole)
	near := "GEOSEARCH {pingline}:geo FROMLONLAT -8.63 41.16 BYRADIUS 1000 m ASC"
	if got := server.Do(t, near); len(got.([]any)) != 2 {
		t.Errorf("near are %v", got)
	}
	if got := server.Do(t, "HMGET {pingline}:rider:me ts lat lon speed trip_id"); fmt.Sprint(got) != fmt.Sprintf("[%d 41.1578 -8.6291 7.5 to work]", first.At) {
		t.Errorf("the hash has %v", got)
	}
	second := ping("me", first.At+1)
	second.Fix = pingline.Fix{At: second.At, LatE7: second.LatE7, LonE7: second.LonE7}
	pole.At++
	if err := pole.SetPosition(-90, 12); err != nil {
		t.Fatal(err)
	}
	written(t, p, second, pole)
	if got := server.Do(t, "HMGET {pingline}:rider:me ts speed trip_id"); fmt.Sprint(got) != fmt.Sprintf("[%d <nil> <nil>]", second.At) {
		t.Errorf("the hash has %v", got)
	}
	if got := server.Do(t, near); fmt.Sprint(got) != "[me]" {
		t.Errorf("near are %v: nobody is left where they were", got)
	}
	got := newest(t, p)
	if at, me := got["amundsen"], got["me"]; !at.Equal(&pole) || !me.Equal(&second) {
		t.Errorf("newest are %+v", got)
	}
	if got := server.Do(t, "ZRANGE {pingline}:seen 0 -1 WITHSCORES"); fmt.Sprint(got) != fmt.Sprintf("[amundsen %d me %d]", pole.At, second.At) {
		t.Errorf("seen are %v", got)
	}
}

// A change is told once, by a message or by an entry of a stream; an older ping is none, and
// neither is a ping that comes again.
func TestChanges(t *testing.T) {
	server := redistest.Run(t, "--appendfsync", "no")
	cfg := config(server)
	cfg.Changes, cfg.Prefix = "publish", "told"
	c := server.Client()
	defer func() { _ = c.Close() }()
	sub := c.Subscribe(t.Context(), "told:changes")
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := open(t, cfg)
	e := ping(`a "b"`, storetest.Recently)
	e.Known, e.Cell, e.Skipped, e.Late, e.Device, e.Trip = 0, 0x8539220ffffffff, 2, true, "phone:2", ""
	older := e
	older.At--
	written(t, p, older, e)
	written(t, p, e)
	written(t, p, older)
	last := ping("last", e.At)
	written(t, p, last)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := fmt.Sprintf(`{"rider_id":"a \"b\"","ts":%d,"lat":41.1578,"lon":-8.6291,"device_id":"phone:2","cell":"8539220ffffffff","skipped":2,"late":true}`, e.At)
	if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != want {
		t.Fatalf("told is %v, %v, want %s", m, err, want)
	}
	if m, err := sub.ReceiveMessage(ctx); err != nil || !strings.HasPrefix(m.Payload, `{"rider_id":"last"`) {
		t.Errorf("told next is %v, %v", m, err)
	}

	cfg.Changes, cfg.Prefix, cfg.Stream = "stream", "flow", 1000
	p = open(t, cfg)
	written(t, p, older)
	written(t, p, e, older)
	written(t, p, e)
	got := server.Do(t, "XRANGE {flow}:changes - +").([]any)
	if len(got) != 2 || !strings.Contains(fmt.Sprint(got[1]), fmt.Sprintf(`[rider_id a "b" ts %d lat 41.1578 lon -8.6291 device_id phone:2 `, e.At)) {
		t.Errorf("the stream has %v", got)
	}
	for i := range int64(3000) {
		written(t, p, ping("busy", e.At+i))
	}
	if n := server.Do(t, "XLEN {flow}:changes").(int64); n > 1500 {
		t.Errorf("the stream has %d entries, and 1000 or so are kept", n)
	}
	if err := p.Erase(t.Context(), "busy"); err != nil {
		t.Fatal(err)
	}
	if left := fmt.Sprint(server.Do(t, "XRANGE {flow}:changes - +")); strings.Contains(left, "busy") {
		t.Errorf("the stream still has the rider who was removed: %.300s", left)
	}
}

// Riders of whom nothing is heard any more go, from the sets as well, and a ping that is as
// old brings none back.
func TestExpiry(t *testing.T) {
	server := redistest.Run(t)
	cfg := config(server)
	cfg.Expire = time.Hour
	p := open(t, cfg)
	now := time.Now().UnixMilli()
	written(t, p, ping("fresh", now), ping("old", now-3_700_000))
	if got := newest(t, p); len(got) != 1 || got["fresh"].At != now {
		t.Errorf("there are %v", got)
	}
	if ms := server.Do(t, "PTTL {pingline}:rider:fresh").(int64); ms < 3_000_000 || ms > 3_600_000 {
		t.Errorf("it expires in %d ms", ms)
	}
	if err := p.Erase(t.Context(), "fresh"); err != nil {
		t.Fatal(err)
	}
	cfg.Expire = time.Second
	p = open(t, cfg)
	written(t, p, ping("short", time.Now().UnixMilli()+500))
	until(t, "the rider is gone", func() bool {
		return fmt.Sprint(server.Do(t, "EXISTS {pingline}:rider:short {pingline}:geo {pingline}:seen")) == "0"
	})
	cfg.Expire = 0
	e := ping("short", time.Now().UnixMilli())
	written(t, open(t, config(server)), e)
	cfg.Expire = time.Hour
	written(t, open(t, cfg), e)
	cfg.Expire = 0
	written(t, open(t, cfg), e)
	if ms := server.Do(t, "PTTL {pingline}:rider:short").(int64); ms != -1 {
		t.Errorf("without expire it still goes in %d ms", ms)
	}
}

// A rider goes, and nobody else does.
func TestErase(t *testing.T) {
	server := redistest.Run(t)
	p := open(t, config(server))
	if err := p.Erase(t.Context(), "r"); err != nil {
		t.Errorf("from an empty server: %v", err)
	}
	list := storetest.Fleet(1, 100)
	written(t, p, list...)
	for range 2 {
		if err := p.Erase(t.Context(), list[0].Rider); err != nil {
			t.Fatal(err)
		}
	}
	if got := newest(t, p); len(got) != 9 || got[list[0].Rider].Rider != "" {
		t.Errorf("left are %d riders, want 9", len(got))
	}
	if n := server.Do(t, "ZCARD {pingline}:geo"); fmt.Sprint(n) != "9" {
		t.Errorf("%v riders have a place, want 9", n)
	}
}

// Points that are no pings are passed over, and what cannot be kept is refused alone.
func TestOtherRows(t *testing.T) {
	server := redistest.Run(t)
	p := open(t, config(server))
	point := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", At: storetest.Recently}}
	own := pingline.Entry{Kind: pingline.Activity, Line: "cell_activity n=1 1"}
	written(t, p, point, own)
	if n := server.Do(t, "DBSIZE"); fmt.Sprint(n) != "0" {
		t.Errorf("%v keys", n)
	}
	replayed := pingline.Entry{Kind: pingline.Replayed, Line: "location,rider=x lat=1 1"}
	lost := ping("x", 1<<60)
	r := refused(t, p, store.BadRows, store.Unparsable, point, replayed, ping("y", 1), lost)
	if !slices.Equal(r.Suspects, []int{1, 3}) || r.All {
		t.Errorf("%+v", r)
	}
	if r := refused(t, p, store.BadRows, store.Unparsable, lost); !r.All {
		t.Errorf("%+v", r)
	}
}

// The script is brought along when a server does not have it.
func TestScriptIsGone(t *testing.T) {
	server := redistest.Run(t)
	p := open(t, config(server))
	for i := range int64(3) {
		written(t, p, storetest.Fleet(uint64(i), 20)...)
		server.Do(t, "SCRIPT FLUSH")
	}
	written(t, p)
	if n := len(newest(t, p)); n != 30 {
		t.Errorf("%d riders, want 30", n)
	}
}

// A server that cannot take writes says why, and takes them once it can.
func TestRefusals(t *testing.T) {
	server := redistest.Run(t)
	me := ping("me", storetest.Recently)
	t.Run("a key of another type", func(t *testing.T) {
		for i, key := range []string{"{pingline}:rider:me", "{pingline}:geo", "{pingline}:seen"} {
			p := open(t, config(server))
			server.Do(t, "RPUSH "+key+" x")
			older := me
			older.At--
			list := []pingline.Entry{older, ping("you", me.At), me}
			if i == 0 { // one rider waits for nobody else
				server.Do(t, "SCRIPT FLUSH")
				for range 2 {
					r := refused(t, p, store.BadRows, store.TypeConflict, list...)
					if !strings.Contains(r.Error(), "WRONGTYPE") || !slices.Equal(r.Suspects, []int{0, 2}) || r.All {
						t.Errorf("%+v", r)
					}
				}
				if r := refused(t, p, store.BadRows, store.TypeConflict, me); !r.All {
					t.Errorf("%+v", r)
				}
				if newest(t, p)["you"].At != me.At {
					t.Error("the ping beside it was not taken")
				}
			} else if r := refused(t, p, store.Configure, store.Missing, list...); !strings.Contains(r.Error(), "WRONGTYPE") || !strings.Contains(r.Advice, "prefix") {
				t.Errorf("%v; %s", r, r.Advice)
			}
			server.Do(t, "FLUSHDB")
			written(t, p, me)
			server.Do(t, "FLUSHDB")
		}
	})
	t.Run("no memory", func(t *testing.T) {
		p := open(t, config(server))
		server.Do(t, "CONFIG SET maxmemory 1")
		for _, list := range [][]pingline.Entry{{me}, nil} {
			if r := refused(t, p, store.Configure, store.Limit, list...); !strings.Contains(r.Advice, "maxmemory") {
				t.Errorf("%v; %s", r, r.Advice)
			}
		}
		server.Do(t, "CONFIG SET maxmemory 0")
		written(t, p, me)
	})
	t.Run("a replica", func(t *testing.T) {
		p := open(t, config(server))
		server.Do(t, "REPLICAOF 127.0.0.1 1")
		_ = refused(t, p, store.Retry, "", me)
		_ = refused(t, p, store.Retry, "")
		server.Do(t, "REPLICAOF NO ONE")
		written(t, p, me)
	})
	t.Run("no such database", func(t *testing.T) {
		cfg := config(server)
		cfg.URL = strings.TrimSuffix(cfg.URL, "0") + "99"
		_ = refused(t, open(t, cfg), store.Configure, store.Missing, me)
	})
	t.Run("TLS to a server without", func(t *testing.T) {
		cfg := config(server)
		cfg.URL = strings.Replace(cfg.URL, "redis", "rediss", 1)
		cfg.Timeout = 200 * time.Millisecond // Redis waits for the rest of what it takes for a command
		r := new(store.Refusal)
		if err := open(t, cfg).Write(t.Context(), store.Rows{}); !errors.As(err, &r) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("a password that comes later", func(t *testing.T) {
		cfg := config(server)
		cfg.PasswordFile = filepath.Join(t.TempDir(), "password")
		p := open(t, cfg)
		_ = refused(t, p, store.Configure, store.Credentials, me)
		for _, text := range []string{"", "a\nb", "wrong", redistest.Password + "\n"} {
			if err := os.WriteFile(cfg.PasswordFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(text, redistest.Password) {
				written(t, p, me)
				continue
			}
			_ = refused(t, p, store.Configure, store.Credentials, me)
		}
		cfg.PasswordFile = ""
		_ = refused(t, open(t, cfg), store.Configure, store.Credentials, me)
	})
	t.Run("a user with no more rights than are needed", func(t *testing.T) {
		cfg := config(server)
		cfg.URL = strings.Replace(cfg.URL, "//", "//pingline@", 1)
		cfg.Changes, cfg.Expire = "publish", time.Hour
		server.Do(t, "ACL SETUSER pingline on >"+redistest.Password+" ~{pingline}:* &pingline:* -@all +eval +evalsha +hget +hset +hgetall +del +zadd +geoadd +zrem +zscan +zrangebyscore +pexpire +publish +xrange +xdel")
		fresh := ping("me", time.Now().UnixMilli())
		p := open(t, cfg)
		written(t, p, fresh)
		if len(newest(t, p)) == 0 {
			t.Error("nothing is there")
		}
		if err := p.Erase(t.Context(), "me"); err != nil {
			t.Error(err)
		}
		if n := p.Notes(); len(n) != 0 {
			t.Errorf("a server that does not tell its settings has notes %q", n)
		}
		for _, f := range p.Check(t.Context()) {
			if f.Remedy != "" || f.What == "durable" && !strings.Contains(f.Found, "not known") {
				t.Errorf("check says %+v", f)
			}
		}
		server.Do(t, "ACL SETUSER pingline -zadd")
		for _, list := range [][]pingline.Entry{{fresh}, nil} {
			if r := refused(t, p, store.Configure, store.Rights, list...); !strings.Contains(r.Error(), "can't run this command") {
				t.Errorf("%v; %s", r, r.Advice)
			}
		}
	})
}

// What a server's settings risk is told, and what they do not is not.
func TestNotes(t *testing.T) {
	server := redistest.Run(t)
	p := open(t, config(server))
	says := func(want ...string) {
		t.Helper()
		list := p.Check(t.Context())
		for _, f := range list {
			if f.Remedy != "" {
				t.Errorf("check says %+v", f)
			}
		}
		notes := p.Notes()
		if len(notes) != len(want) || len(want) > 0 && list[2].Found != notes[0] || len(want) == 0 && !strings.Contains(list[2].Found, "flushed") {
			t.Fatalf("notes are %q, check says %+v", notes, list)
		}
		for i, part := range want {
			if !strings.Contains(notes[i], part) {
				t.Errorf("note %q, want %q", notes[i], part)
			}
		}
	}
	says()
	server.Do(t, "CONFIG SET appendfsync everysec")
	says("appendfsync everysec")
	server.Do(t, "CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru")
	says("appendfsync everysec", "maxmemory-policy allkeys-lru")
	server.Do(t, "CONFIG SET maxmemory-policy volatile-ttl appendonly no")
	says("appendonly no")
	again := open(t, config(server))
	written(t, again, ping("me", storetest.Recently))
	until(t, "the first write looks", func() bool { return len(again.Notes()) == 1 })
}

// Riders are spread over the nodes of a cluster by their tags. One that is killed keeps its
// part waiting until it is back.
func TestCluster(t *testing.T) {
	servers := redistest.Cluster(t, 3)
	cfg := config(servers[0])
	cfg.Tags, cfg.Changes = 16, "stream"
	p := open(t, cfg)
	if got := newest(t, p); len(got) != 0 {
		t.Errorf("an empty cluster has %v", got)
	}
	var list []pingline.Entry
	for i := range 200 {
		list = append(list, ping(fmt.Sprintf("rider-{%d}-%d", i%7, i), storetest.Recently))
	}
	list[0].Rider = "123456789" // whose CRC-16/XMODEM is 0x31c3: tag 3
	written(t, p, list...)
	has := func(want int) {
		t.Helper()
		got := newest(t, p)
		for _, e := range list[:want] {
			if at := got[e.Rider]; !at.Equal(&e) {
				t.Fatalf("%+v is %+v", e, at)
			}
		}
		if len(got) != want {
			t.Fatalf("%d riders, want %d", len(got), want)
		}
	}
	has(200)
	for i, s := range servers {
		if n := s.Do(t, "DBSIZE").(int64); n < 20 {
			t.Errorf("node %d has %d keys", i, n)
		}
	}
	ctx := t.Context()
	found := 0
	for _, s := range servers {
		if n, err := s.Try("EXISTS {pingline:3}:rider:123456789"); err == nil && n == int64(1) {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the rider of tag 3 is at %d nodes", found)
	}
	servers[1].Kill()
	for i := range list {
		list[i].At++
	}
	r := new(store.Refusal)
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.Write(short, storeRows(p, list...)); !errors.As(err, &r) || r.Kind != store.Retry {
		t.Errorf("with a dead node: %v", err)
	}
	if err := servers[1].Restart(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "the cluster takes writes again", func() bool { return p.Write(ctx, storeRows(p, list...)) == nil })
	has(200)
	if err := p.Erase(ctx, list[0].Rider); err != nil {
		t.Fatal(err)
	}
	if got := newest(t, p); len(got) != 199 {
		t.Errorf("%d riders are left", len(got))
	}
	if list := p.Check(ctx); !strings.Contains(list[0].Found, "with 3 masters") {
		t.Errorf("check says %+v", list)
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "0") + "1"
	_ = refused(t, open(t, cfg), store.Configure, store.Missing, list[0])
	one := config(servers[0]) // without tags all is at one node
	one.Prefix = "whole"
	q := open(t, one)
	written(t, q, list...)
	if got := newest(t, q); len(got) != 200 {
		t.Errorf("%d riders, want 200", len(got))
	}
}
