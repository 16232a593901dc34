package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sink/redis"
	"pingline/sink/redis/redistest"
	"pingline/sink/store"
)

// patience is how long a busy machine may take.
const patience = 5 * time.Minute

// config is how a test gets into a server.
func config(s *redistest.Server) redis.Config {
	return redis.Config{URL: s.URL(), PasswordFile: s.PasswordFile(), Timeout: patience}
}

// open returns the Redis that cfg names, until the test ends.
func open(t testing.TB, cfg redis.Config) *redis.Whereabouts {
	t.Helper()
	p, err := redis.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// storeRows encodes entries for a store.
func storeRows(s store.Store, list ...pingline.Entry) store.Rows {
	var r store.Rows
	for i := range list {
		r.Bytes = s.AppendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}

// written writes entries, which must be taken.
func written(t testing.TB, p *redis.Whereabouts, list ...pingline.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Write(ctx, storeRows(p, list...)); err != nil {
		t.Fatal(err)
	}
}

// refused writes entries, which must be refused.
func refused(t testing.TB, p *redis.Whereabouts, kind store.Kind, reason string, list ...pingline.Entry) *store.Refusal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := p.Write(ctx, storeRows(p, list...))
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Reason != reason {
		t.Fatalf("the error is %v (%+v), want %v for %q", err, r, kind, reason)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, r, r), redistest.Password) {
		t.Errorf("the error has the password: %+v", r)
	}
	return r
}

// newest returns the newest ping of each rider, by its id.
func newest(t testing.TB, p *redis.Whereabouts) map[string]pingline.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := make(map[string]pingline.Entry)
	err := p.Newest(ctx, "", func(e *pingline.Entry) error {
		all[e.Rider] = *e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// until waits until ok, for as long as a busy machine may take.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
