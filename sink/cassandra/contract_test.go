package cassandra_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/sink/cassandra"
	"pingline/sink/cassandra/cassandratest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var server, stop = cassandratest.Shared()

func TestMain(m *testing.M) {
	status := m.Run()
	stop()
	os.Exit(status)
}

// patience is how long an answer may take on a busy machine.
const patience = 5 * time.Minute

var keyspaces atomic.Int64

// fresh returns the Config of a keyspace that is not there yet.
func fresh(s *cassandratest.Server) (cfg cassandra.Config, keyspace string) {
	keyspace = fmt.Sprintf("k%d", keyspaces.Add(1))
	return cassandra.Config{URL: s.URL(keyspace), PasswordFile: s.PasswordFile(), Timeout: patience, CreateSchema: true}, keyspace
}

// open returns the keyspace that cfg names, until the test ends.
func open(t testing.TB, cfg cassandra.Config) *cassandra.Keyspace {
	t.Helper()
	k, err := cassandra.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func rows(s store.Store, list ...pingline.Entry) (r store.Rows) {
	for i := range list {
		r.Bytes = s.AppendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}

// largePoint is a point with a text of more than the server lets a value have.
func largePoint() pingline.Entry {
	return pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{
		Name: "large", At: storetest.Recently, Fields: []pingline.PointField{pingline.Text("text", strings.Repeat("x", 1900)), pingline.Text("more", strings.Repeat("y", 1900)[:100])},
	}}
}

// Cassandra is held to the contract of stores.
func TestCassandraContract(t *testing.T) {
	s := server(t)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		cfg, keyspace := fresh(s)
		k, err := cassandra.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Write(t.Context(), store.Rows{}); err != nil {
			t.Fatal(err)
		}
		wrong := cfg
		wrong.PasswordFile = filepath.Join(t.TempDir(), "wrong")
		if err := os.WriteFile(wrong.PasswordFile, []byte("wrong"), 0o600); err != nil {
			t.Fatal(err)
		}
		return storetest.Place{
			Store:    k,
			Intruder: open(t, wrong),
			Kill:     func() error { s.Kill(); return nil },
			Restart:  s.Restart,
			Freeze:   s.Freeze,
			Thaw:     s.Thaw,
			Refuse:   func() (pingline.Entry, error) { return largePoint(), nil },
			Points: func(_ context.Context, name string) (int, error) {
				return s.Count("SELECT at FROM " + keyspace + ".points WHERE name = '" + name + "' ALLOW FILTERING")
			},
		}
	})
}

// Tables that were made before there were attributes are used without them.
func TestCassandraTablesWithoutAttributes(t *testing.T) {
	s := server(t)
	cfg, keyspace := fresh(s)
	for _, statement := range cassandra.Schema() {
		switch {
		case strings.HasPrefix(statement, "USE"):
		case strings.HasPrefix(statement, "CREATE KEYSPACE"):
			s.Exec(t, "CREATE KEYSPACE "+keyspace+" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
		default:
			statement = strings.Replace(statement, "IF NOT EXISTS ", "IF NOT EXISTS "+keyspace+".", 1)
			s.Exec(t, strings.Replace(statement, "  attrs text,\n", "", 1))
		}
	}
	storetest.Upgrade(t, func() store.Store { return open(t, cfg) }, func(statement string) error {
		s.Exec(t, statement)
		return nil
	})
}
