package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"pingline/sink/store"
)

// settings are those of a server, as far as it tells them.
type settings struct {
	version, role string
	appendOnly    string // 0 or 1
	fsync         string // of the append-only file
	maxMemory     string // bytes; 0: no limit
	eviction      string // noeviction, or which keys go when memory is full
}

// look asks a server for its settings.
func look(ctx context.Context, c *redis.Client) (s settings, err error) {
	info, err := c.Info(ctx).Result()
	if err != nil {
		return s, err
	}
	name := "Redis"
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "redis_version":
			s.version = cmp.Or(s.version, value)
		case "valkey_version":
			name, s.version = "Valkey", value
		case "role":
			s.role = value
		case "aof_enabled":
			s.appendOnly = value
		case "maxmemory":
			s.maxMemory = value
		case "maxmemory_policy":
			s.eviction = value
		}
	}
	s.version = name + " " + s.version
	// CONFIG may be forbidden, or renamed by those who run the server for others.
	if told, err := c.ConfigGet(ctx, "appendfsync").Result(); err == nil {
		s.fsync = told["appendfsync"]
	}
	return s, nil
}

// lookAll asks the server, or each master of a cluster.
func (p *Whereabouts) lookAll(ctx context.Context) (list []settings, err error) {
	ask := func(c *connected) error {
		var mu sync.Mutex
		list = nil
		one := func(ctx context.Context, node *redis.Client) error {
			s, err := look(ctx, node)
			mu.Lock()
			defer mu.Unlock()
			list = append(list, s)
			return err
		}
		switch client := c.UniversalClient.(type) {
		case *redis.ClusterClient:
			return client.ForEachMaster(ctx, one)
		case *redis.Client:
			return one(ctx, client)
		}
		return nil
	}
	err = p.with(ask)
	slices.SortFunc(list, func(a, b settings) int { return strings.Compare(a.version, b.version) })
	return list, err
}

// risks returns a sentence for each way in which a server may lose positions.
func (s *settings) risks(expire time.Duration) (list []string) {
	switch {
	case s.appendOnly == "0":
		list = append(list, "Redis keeps no append-only file (appendonly no): if it is killed, it comes back with the positions of its last snapshot, until each rider's next ping")
	case s.fsync == "no" || s.fsync == "everysec":
		list = append(list, "Redis does not wait for its disk (appendfsync "+s.fsync+"): if its machine fails, riders may be where they were some seconds before, until each one's next ping; appendfsync always waits")
	}
	if s.maxMemory != "0" && s.maxMemory != "" && s.eviction != "noeviction" && s.eviction != "" && (expire > 0 || !strings.HasPrefix(s.eviction, "volatile")) {
		list = append(list, "Redis deletes keys when its memory is full (maxmemory-policy "+s.eviction+"): riders may be missing; noeviction refuses writes instead, and Pingline waits")
	}
	return list
}

// Notes returns how the server may lose positions that were written, as far as it tells its
// settings.
func (p *Whereabouts) Notes() []string {
	if note := p.note.Load(); note != nil {
		return slices.Clone(*note)
	}
	return nil
}

// inspect looks at the servers' settings for Notes.
func (p *Whereabouts) inspect(ctx context.Context) (list []settings, err error) {
	if list, err = p.lookAll(ctx); err != nil {
		return nil, err
	}
	var notes []string
	for i := range list {
		for _, risk := range list[i].risks(p.cfg.Expire) {
			if !slices.Contains(notes, risk) {
				notes = append(notes, risk)
			}
		}
	}
	p.note.Store(&notes)
	return list, nil
}

// tend looks at the settings and takes expired riders out of the two sets, now and then.
func (p *Whereabouts) tend() {
	every := time.Minute
	if p.cfg.Expire > 0 {
		every = min(every, max(p.cfg.Expire/20, 100*time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var looked time.Time
	for {
		ctx, cancel := context.WithTimeout(p.work, p.cfg.Timeout)
		if time.Since(looked) >= time.Minute {
			if _, err := p.inspect(ctx); err == nil || refusal(err).Kind == store.Configure { // what is forbidden stays so for a while
				looked = time.Now()
			}
		}
		p.sweep(ctx)
		cancel()
		select {
		case <-p.work.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep takes expired riders out of the two sets. What it does not get to is left for the
// next time.
func (p *Whereabouts) sweep(ctx context.Context) {
	if p.cfg.Expire == 0 {
		return
	}
	for i := range p.tags {
		for more := true; more && ctx.Err() == nil; {
			n := 0
			err := p.with(func(c *connected) (err error) {
				n, err = c.Eval(ctx, sweep, []string{p.tags[i].geo, p.tags[i].seen}, time.Now().Add(-p.cfg.Expire).UnixMilli()).Int()
				return err
			})
			more = err == nil && n > 0
		}
	}
}

// Check finds out whether the server answers, whether it takes writes and whether it keeps
// them.
func (p *Whereabouts) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 3*p.cfg.Timeout)
	defer cancel()
	found := func(what, ok string, err error) store.Finding {
		f := store.Finding{What: what, Found: ok}
		if err != nil {
			r := refusal(err)
			f.Found, f.Remedy = r.Error(), cmp.Or(r.Advice, "check the server")
		}
		return f
	}
	began := time.Now()
	err := p.with(func(c *connected) error { return p.send(ctx, c, nil) })
	took := time.Since(began)
	if err != nil {
		return []store.Finding{found("reachable", "", err)}
	}
	list := []store.Finding{found("reachable", fmt.Sprintf("%s answers in %d ms", p.at.addr, took.Milliseconds()), nil), found("write", "the user may write", nil)}
	servers, err := p.inspect(ctx)
	f := store.Finding{What: "durable", Found: "the server does not tell its settings: whether a crash loses positions is not known"}
	if err == nil {
		f.Found = "every write is flushed to the disk before it is answered"
		if slices.ContainsFunc(servers, func(s settings) bool { return s.appendOnly == "1" && s.fsync == "" }) {
			f.Found = "there is an append-only file; appendfsync is not told"
		}
		if notes := p.Notes(); len(notes) > 0 {
			f.Found = notes[0]
		}
		list[0].Found = fmt.Sprintf("%s is %s, answers in %d ms", p.at.addr, servers[0].version, took.Milliseconds())
		if len(servers) > 1 {
			list[0].Found += fmt.Sprintf(", with %d masters", len(servers))
		}
	}
	return append(list, f, store.Finding{What: "history", Found: "none is kept here: only the newest position of each rider"})
}
