// Package storecheck looks whether a store is as a node needs it. It writes nothing that
// stays.
package storecheck

import (
	"context"
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
