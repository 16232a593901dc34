// Package postgres keeps pings and points in two tables of PostgreSQL 14 or later, and
// reads them back.
//
// A write is a COPY into the table of pings. If it meets a row that is there already, it
// is made again by way of a temporary table, from which INSERT … ON CONFLICT DO UPDATE
// takes the rows: of a row written twice the last content stays. A write is durable as far
// as synchronous_commit says. The package makes the tables and a partition for each day,
// drops days by their age, and never alters a table. It retries nothing, keeps nothing and
// drops no row that is young enough.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"pingline/sink/store"
)

// Database is a database of PostgreSQL. Safe for concurrent use. No error of it contains
// the password.
type Database struct {
	cfg    Config
	where  string        // host, port and name, for texts
	writes *pgxpool.Pool // reads have connections of their own: slow ones must not keep writes waiting
	reads  *pgxpool.Pool

	schema  atomic.Pointer[tablesFound] // nil until the tables are known to fit
	making  chan struct{}               // held while the tables are looked at or made
	days    dayset
	dressed atomic.Bool  // pings are known to have a column of attributes
	staged  atomic.Int64 // writes that still go by the temporary table, since rows were there already
	note    atomic.Pointer[string]

	start sync.Once
	stop  context.CancelFunc
	work  context.Context
	done  sync.WaitGroup
}

var (
	_ store.Store       = (*Database)(nil)
	_ store.Reader      = (*Database)(nil)
	_ store.PointReader = (*Database)(nil)
	_ store.Eraser      = (*Database)(nil)
	_ store.Retainer    = (*Database)(nil)
	_ store.Noter       = (*Database)(nil)
	_ store.Checker     = (*Database)(nil)
)

// Connections. The sink makes at most so many writes at once.
const (
	writeConns = 16
	readConns  = 4
)

// New returns the database that cfg names, or a *SettingFault; it does not connect. The
// first write, also one without rows, begins to make partitions and to drop old ones.
func New(cfg Config) (*Database, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	u, err := cfg.check()
	if err != nil {
		return nil, err
	}
	d := &Database{cfg: cfg, where: u.Host + u.Path, making: make(chan struct{}, 1)}
	d.work, d.stop = context.WithCancel(context.Background())
	for pool, most := range map[**pgxpool.Pool]int32{&d.writes: writeConns, &d.reads: readConns} {
		if *pool, err = d.pool(u.String(), most); err != nil {
			_ = d.Close()
			return nil, &SettingFault{"URL", errors.New(oneLine(err.Error()))}
		}
	}
	return d, nil
}

func (d *Database) pool(url string, most int32) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	c.MaxConns = most
	conn := c.ConnConfig
	conn.ConnectTimeout = d.cfg.Timeout
	conn.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // plans are made for the values: they tell which days are read
	conn.RuntimeParams["application_name"] = "pingline"
	conn.RuntimeParams["client_encoding"] = "UTF8"
	if d.cfg.CAFile != "" || d.cfg.CertFile != "" {
		conn.TLSConfig = d.cfg.tls(conn.Host)
		conn.Fallbacks = slices.DeleteFunc(conn.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })
		for _, f := range conn.Fallbacks {
			f.TLSConfig = d.cfg.tls(f.Host)
		}
	}
	c.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error { return d.cfg.password(conn) }
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET jit = off") // compiling a query takes longer than most of ours
		return err
	}
	return pgxpool.NewWithConfig(context.Background(), c)
}

// Close lets go of connections, and ends the making and dropping of partitions.
func (d *Database) Close() error {
	d.stop()
	d.start.Do(func() {}) // none begins behind this
	d.done.Wait()
	for _, p := range []*pgxpool.Pool{d.writes, d.reads} {
		if p != nil {
			p.Close()
		}
	}
	return nil
}
