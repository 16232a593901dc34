package clickhouse_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pingline"
	"pingline/sink/clickhouse"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// patience is how long an answer may take on a busy machine.
const patience = 5 * time.Minute

// config is how a test gets into a database of a server.
func config(s *clickhousetest.Server, database string) clickhouse.Config {
	return clickhouse.Config{URL: s.URL(database), PasswordFile: s.PasswordFile(), CreateSchema: true, Timeout: patience}
}

func open(t testing.TB, cfg clickhouse.Config) *clickhouse.Tables {
	t.Helper()
	to, err := clickhouse.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return to
}

// A ClickHouse is held to the contract of stores with compressed writes, as one elsewhere
// gets them. The other tests do not compress.
func TestContract(t *testing.T) { storetest.Run(t, place) }

func place(t *testing.T) storetest.Place {
	s := clickhousetest.Run(t)
	cfg := config(s, "pingline")
	cfg.Compress = true
	to := open(t, cfg)
	wrong := cfg
	wrong.PasswordFile = filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong.PasswordFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	return storetest.Place{
		Store:    to,
		Intruder: open(t, wrong),
		Kill:     func() error { s.Kill(); return nil },
		Restart:  s.Restart,
		Freeze:   s.Freeze,
		Thaw:     s.Thaw,
		Points: func(ctx context.Context, name string) (int, error) {
			text, err := s.Query(ctx, "SELECT count() FROM pingline.points FINAL WHERE name = '"+name+"'")
			if err != nil {
				return 0, err
			}
			return strconv.Atoi(text)
		},
		// An old server has no constraints: a column that is computed from the event fails
		// where there is one.
		Refuse: func() (pingline.Entry, error) {
			e := storetest.Fleet(99, 1)[0]
			e.Event = "sos"
			if err := to.Write(t.Context(), store.Rows{}); err != nil {
				return e, err
			}
			_, err := s.Query(t.Context(), "ALTER TABLE pingline.pings ADD COLUMN guard UInt8 MATERIALIZED throwIf(event != '')")
			return e, err
		},
	}
}

// A table that was made before there were attributes is used without them, as is one whose
// column of that name is an operator's own.
func TestTablesWithoutAttributes(t *testing.T) {
	s := clickhousetest.Run(t)
	for database, alter := range map[string][]string{
		"before": {"DROP COLUMN attrs"},
		"an own": {"DROP COLUMN attrs", "ADD COLUMN attrs Array(String)"},
	} {
		t.Run(database, func(t *testing.T) {
			cfg := config(s, database)
			mustWrite(t, open(t, cfg))
			for _, part := range alter {
				s.Execute(t, "ALTER TABLE `"+database+"`.pings "+part)
			}
			storetest.Upgrade(t, func() store.Store { return open(t, cfg) }, func(statements string) error {
				if len(alter) > 1 {
					s.Execute(t, "ALTER TABLE `"+database+"`.pings DROP COLUMN attrs")
				}
				_, err := s.Query(t.Context(), statements)
				return err
			})
			list := storetest.Dressed(t, 23)
			mustWrite(t, open(t, cfg), list...)
			want := 0
			for i := range list {
				if f, ok := list[i].Attrs.Get("fuel"); ok && f.Float() == 0.4 {
					want++
				}
			}
			// As the docs have it.
			if n := s.Execute(t, "SELECT count() FROM `"+database+"`.pings FINAL WHERE visitParamHas(attrs, 'fuel') AND visitParamExtractFloat(attrs, 'fuel') = 0.4 AND visitParamExtractString(attrs, 'door') = 'open'"); n != strconv.Itoa(want) {
				t.Errorf("%s rows have the fuel of %d", n, want)
			}
		})
	}
}
