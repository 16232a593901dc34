package redis_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"pingline"
	"pingline/sink/redis"
	"pingline/sink/redis/redistest"
	"pingline/sink/store/storetest"
)

// Redis is held to the contract of stores, as far as it is about the newest pings.
func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		server := redistest.Run(t)
		return placeOf(t, config(server), server)
	})
}

func placeOf(t *testing.T, cfg redis.Config, server *redistest.Server) storetest.Place {
	wrong := cfg
	wrong.PasswordFile = filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong.PasswordFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, cfg)
	return storetest.Place{
		Store:    p,
		Intruder: open(t, wrong),
		Kill:     func() error { server.Kill(); return nil },
		Restart:  func() error { return server.Restart(context.Background()) },
		Freeze:   server.Freeze,
		Thaw:     server.Thaw,
		Refuse: func() (pingline.Entry, error) {
			e := storetest.Fleet(99, 1)[0]
			e.At = 1 << 60 // no time that a sorted set can have
			return e, nil
		},
		Latest: func(ctx context.Context) (list []pingline.Entry, err error) {
			err = p.Newest(ctx, "", func(e *pingline.Entry) error { list = append(list, *e); return nil })
			return list, err
		},
	}
}
