// Package storecheck looks whether a store is as a node needs it. It writes nothing that
// stays.
package storecheck

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"pingline/internal/room"
	"pingline/sink/store"
)

// Try checks a store that is a Checker, and compares how long it keeps pings with how old they
// may be. It returns nothing for any other store.
func Try(ctx context.Context, s store.Store, maxAge time.Duration) []store.Finding {
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
		list = append(list, room.Retention(keep, told, maxAge))
	}
	return list
}

// Say logs what Try finds of the store of a shard and an operator must put right.
func Say(ctx context.Context, logger *slog.Logger, shard string, s store.Store, maxAge time.Duration) {
	missed := false // the right bucket, for writing or for reading
	for _, f := range Try(ctx, s, maxAge) {
		if _, reads := s.(store.Reader); f.What == "read" && !reads {
			logger.Info("pings are written to a store and not read from it", "shard", shard, "found", f.Found)
		}
		of := f.What == "bucket" || f.What == "write" || f.What == "read"
		if f.Remedy == "" || of && missed || ctx.Err() != nil {
			continue
		}
		missed = missed || of
		logger.Warn("a store is not as it should be; pings are taken all the same", "shard", shard, "check", f.What, "found", f.Found, "remedy", f.Remedy)
	}
}

// Place returns a URL as it is equal for equal places, however they are written.
func Place(at string) string {
	at = strings.TrimRight(at, "/")
	if u, err := url.Parse(at); err == nil {
		u.Host = strings.ToLower(u.Host)
		if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; port != "" {
			u.Host = strings.TrimSuffix(u.Host, port)
		}
		at = u.String()
	}
	return at
}
