package node

import (
	"pingline/sink/sets"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/sink/store"
)

// A route of latest adds a Redis to the places of all pings, and nothing else; tracks are
// never read from there.
func TestLatestIsRouted(t *testing.T) {
	shards := []string{"name=a,url=http://one:8086", "name=now,url=redis://r/0,set=fast"}
	for _, routes := range [][]string{{"latest=fast"}, {"latest=now"}, {"location=main,fast", "event=main,fast"}, {"location=fast,main", "latest=fast"}} {
		c := config(t, shards, routes...)
		l, err := openLayout(c)
		if err != nil {
			t.Fatal(err)
		}
		fast := l.sets[1]
		got := fast.Routes // without one, kinds are spread over its only shard
		if got["location"] != 0 || got["event"] != 0 || got["activity"] != -1 || got["self"] != -1 {
			t.Errorf("%v: the set of Redis has routes %v", routes, got)
		}
		if n := len(l.withPings()); n != 2 {
			t.Errorf("%v: pings are in %d shards, want 2", routes, n)
		}
		for _, kind := range sets.PingKinds {
			if to, routed := l.sets[0].Routes[kind]; routed {
				t.Errorf("%v: %s of the main set goes to %d", routes, kind, to)
			}
		}
		if l.read != l.sets[0] || len(l.reading.pings()) != 1 || l.reading.pings()[0].Name != "a" {
			t.Errorf("%v: read from %s, %v", routes, l.read.Name, l.reading.pings())
		}
		if fast.Wait != 100*time.Millisecond || l.sets[0].Wait != 0 {
			t.Errorf("%v: batches wait for %v and %v", routes, fast.Wait, l.sets[0].Wait)
		}
	}
	c := config(t, shards, "event=a", "latest=fast")
	if to := sets.Targets(c.Routes, "event"); !slices.Equal(to, []sets.RouteTarget{{Name: "a"}, {Name: "fast"}}) {
		t.Errorf("events go to %v", to)
	}
	alone := layoutOf(t, []string{"name=now,url=redis://r"})
	if len(alone.reading.pings()) != 0 || len(alone.withPings()) != 1 {
		t.Errorf("a Redis alone: %d readers", len(alone.reading.pings()))
	}
	if _, is := alone.all()[0].Store.(store.Reader); is {
		t.Error("a Redis is a Reader: tracks would be read from it")
	}
}

// What a Redis cannot keep, and settings that it does not have, are refused at the start.
func TestRedisIsChecked(t *testing.T) {
	for _, tt := range []struct {
		shards, routes []string
		says           string
	}{
		{[]string{"name=a,url=redis://r/0", "name=b,url=redis://s/0"}, nil, "a Redis is alone in its set"},
		{[]string{"name=a,url=redis://r/0", "name=b,url=http://s"}, nil, "a Redis is alone in its set"},
		{[]string{"name=a,url=http://s", "name=b,url=redis://r/0,set=now"}, []string{"latest=now", "activity=now"}, "activity=now: a Redis keeps newest positions only"},
		{[]string{"name=a,url=http://s", "name=b,url=http://r,set=now"}, []string{"latest=now"}, "latest=now: it keeps every ping"},
		{[]string{"name=a,url=http://s", "name=b,url=redis://r/0,set=now"}, []string{"latest=now", "latest=b"}, "latest has two"},
		{[]string{"name=a,url=http://s", "name=b,url=redis://r/0,set=now"}, []string{"latest=nowhere"}, `"nowhere"`},
		{[]string{"name=a,url=redis://ann:topsecret@r/0"}, nil, "token file"},
		{[]string{"name=a,url=redis://ann@r/0"}, nil, "token-file"},
		{[]string{"name=a,url=redis://r/0,expire=often"}, nil, "expire: \"often\""},
		{[]string{"name=a,url=redis://r/0,expire=1ms"}, nil, "expire: 1ms"},
		{[]string{"name=a,url=redis://r/0,tags=0"}, nil, "tags: \"0\""},
		{[]string{"name=a,url=redis://r/0,tags=5000"}, nil, "tags: 5000"},
		{[]string{"name=a,url=redis://r/0,changes=all"}, nil, "changes: \"all\""},
		{[]string{"name=a,url=redis://r/0,stream-length=-1"}, nil, "stream-length: \"-1\""},
		{[]string{"name=a,url=redis://r/0,prefix=a{b"}, nil, "prefix: \"a{b\""},
		{[]string{"name=a,url=redis://r/0,ca-file=x"}, nil, "url: certificates are for TLS"},
	} {
		err := unchecked(t, tt.shards, tt.routes...).Check()
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%v %v: %v, want %q", tt.shards, tt.routes, err, tt.says)
		}
	}
	var s ShardConfig
	if err := s.UnmarshalText([]byte("name=a,url=http://r,expire=24h")); err == nil || !strings.Contains(err.Error(), "a shard of influx has no expire") {
		t.Errorf("expire of an InfluxDB: %v", err)
	}
	if err := s.UnmarshalText([]byte("name=a,url=redis://r,org=x")); err == nil || !strings.Contains(err.Error(), "a shard of redis has no org") {
		t.Errorf("org of a Redis: %v", err)
	}
}
