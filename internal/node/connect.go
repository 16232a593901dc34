package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pingline/ingest/privacy"
	"pingline/internal/room"
	"pingline/internal/unit"
	"pingline/sink/store"
)

// Tried is the result of a check before a node is opened.
type Tried struct {
	Of string // the shard, such as "shard a", or another subject such as "disk"
	store.Finding
}

// Try checks whether a node with this configuration could run: each shard's store, the
// files of TLS, the key of pseudonyms, the disk, and the limit of open files. It opens no log, takes no lock, and writes to no
// store. The configuration must have been checked.
func Try(ctx context.Context, c *Config) ([]Tried, error) {
	quiet := *c
	quiet.Logger = slog.New(slog.DiscardHandler)
	l, err := newLayout(&quiet)
	if err != nil {
		return nil, err
	}
	shards := l.all()
	lists := make([][]store.Finding, len(shards))
	var wg sync.WaitGroup
	for i := range shards {
		wg.Go(func() { lists[i] = tryStore(ctx, shards[i].Store, c.MaxAge) })
	}
	wg.Wait()
	var all []Tried
	for i, list := range lists {
		for _, f := range list {
			all = append(all, Tried{"shard " + shards[i].Name, f})
		}
		if err := shards[i].Store.Close(); err != nil {
			return all, err
		}
	}
	if c.TLS.On() {
		all = append(all, Tried{"tls", c.tryTLS()})
	}
	if c.Privacy.Keys != "" {
		all = append(all, Tried{"pseudonyms", c.tryPseudonyms()})
	}
	return append(all, Tried{"disk", room.Disk(c.DataDir, c.QueueMax)}, Tried{"files", room.Files(c.MaxConnections)}), nil
}

// tryStore checks a store that is a Checker, and compares how long it keeps pings
// with how old they may be.
func tryStore(ctx context.Context, s store.Store, maxAge time.Duration) []store.Finding {
	checker, ok := s.(store.Checker)
	if !ok {
		return nil
	}
	list := checker.Check(ctx)
	for _, f := range list {
		if f.What == "reachable" && f.Remedy != "" {
			return list
		}
	}
	if r, ok := s.(store.Retainer); ok {
		keep, told := r.Retention(ctx)
		list = append(list, compareRetention(keep, told, maxAge))
	}
	return list
}

func compareRetention(keep time.Duration, told bool, maxAge time.Duration) store.Finding {
	f := store.Finding{What: "retention"}
	switch {
	case !told:
		f.Found = "is not told to this token: if it is shorter than --max-age, older pings become dead letters"
	case keep == 0:
		f.Found = "pings are kept for ever"
	case keep < maxAge:
		f.Found = fmt.Sprintf("pings are kept for %v, and --max-age takes pings up to %v old", unit.Span(keep), unit.Span(maxAge))
		f.Remedy = fmt.Sprintf("set --max-age=%v, or keep pings longer: older pings are refused", unit.Span(keep))
	default:
		f.Found = fmt.Sprintf("pings are kept for %v, at least as long as --max-age lets them be old", unit.Span(keep))
	}
	return f
}

// tryPseudonyms reads the file of --pseudonyms.
func (c *Config) tryPseudonyms() store.Finding {
	f := store.Finding{What: "key"}
	names, open, err := privacy.ReadPseudonyms(c.Privacy.Keys)
	switch {
	case err != nil:
		f.Found, f.Remedy = fmt.Sprintf("--pseudonyms: %v", err), "put the file right, or name another"
	case open:
		f.Found = fmt.Sprintf("%s has key %s, and others may read it, and so find riders by trying: chmod 600", c.Privacy.Keys, names.Mark())
	default:
		f.Found = fmt.Sprintf("%s has key %s", c.Privacy.Keys, names.Mark())
	}
	return f
}
