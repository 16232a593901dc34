package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var databases atomic.Int64

// fresh returns the Config of a new, empty database.
func fresh(t testing.TB, server *postgrestest.Server) (cfg postgres.Config, name string) {
	t.Helper()
	name = fmt.Sprintf("d%d", databases.Add(1))
	server.Exec(t, "postgres", "CREATE DATABASE "+name)
	return postgres.Config{URL: server.URL(name), PasswordFile: server.PasswordFile(), Timeout: time.Minute}, name
}

// open returns the database that cfg names, until the test ends.
func open(t testing.TB, cfg postgres.Config) *postgres.Database {
	t.Helper()
	d, err := postgres.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// PostgreSQL is held to the contract of stores.
func TestContract(t *testing.T) {
	server := postgrestest.Run(t)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		cfg, name := fresh(t, server)
		d, err := postgres.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(t.Context(), storeRows(d)); err != nil {
			t.Fatal(err)
		}
		wrong := cfg
		wrong.PasswordFile = filepath.Join(t.TempDir(), "wrong")
		if err := os.WriteFile(wrong.PasswordFile, []byte("wrong"), 0o600); err != nil {
			t.Fatal(err)
		}
		return storetest.Place{
			Store:    d,
			Intruder: open(t, wrong),
			Kill:     func() error { server.Kill(); return nil },
			Restart:  func() error { return server.Restart(context.Background()) },
			Freeze:   server.Freeze,
			Thaw:     server.Thaw,
			Refuse: func() (pingline.Entry, error) {
				e := storetest.Fleet(99, 1)[0]
				e.Event = "sos"
				return e, server.TryExec(name, "ALTER TABLE location ADD CONSTRAINT calm CHECK (event <> 'sos')")
			},
			Points: func(_ context.Context, point string) (n int, err error) {
				_, err = fmt.Sscan(server.Text(t, name, "SELECT count(*) FROM point WHERE name = '"+point+"'"), &n)
				return n, err
			},
		}
	})
}

// Tables that were made before there were attributes are used without them, as is a table
// whose column of that name is an operator's own.
func TestTablesWithoutAttributes(t *testing.T) {
	server := postgrestest.Run(t)
	for _, alter := range []string{
		"ALTER TABLE location DROP attrs",
		"ALTER TABLE location ALTER attrs TYPE text",
		"ALTER TABLE location ALTER attrs SET DEFAULT '{}', ALTER attrs SET NOT NULL",
	} {
		t.Run(alter, func(t *testing.T) {
			cfg, name := fresh(t, server)
			written(t, open(t, cfg))
			server.Exec(t, name, alter)
			storetest.Upgrade(t, func() store.Store { return open(t, cfg) }, func(statements string) error { return server.TryExec(name, statements) })
		})
	}
}
