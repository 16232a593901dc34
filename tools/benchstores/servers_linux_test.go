package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/internal/node"
	"pingline/sink/cassandra/cassandratest"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/influx/unread/unreadtest"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/redis/redistest"
)

// contenders are the stores whose servers make test needs, or Debian's packages have.
var contenders = []contender{
	{"influxdb-1.8", func(t *host, v *variant) *place { return influxDB(t, v, 1) }, []variant{
		{name: "inmem", server: []string{"INFLUXDB_DATA_INDEX_VERSION=inmem"}},
		{name: "snapshot-5m", server: []string{"INFLUXDB_DATA_CACHE_SNAPSHOT_MEMORY_SIZE=5242880"}},
		{name: "snapshot-256m", server: []string{"INFLUXDB_DATA_CACHE_SNAPSHOT_MEMORY_SIZE=268435456"}},
		{name: "wal-fsync-delay-20ms", server: []string{"INFLUXDB_DATA_WAL_FSYNC_DELAY=20ms"}},
		{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000}, {name: "sorted", sorted: true},
	}},
	{"influxdb-2", func(t *host, v *variant) *place { return influxDB(t, v, 2) }, []variant{
		{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000}, {name: "sorted", sorted: true},
	}},
	{"clickhouse", clickHouse, []variant{
		{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000}, {name: "batch-100000", batch: 100_000}, {name: "sorted", sorted: true},
		{name: "granularity-1024", alter: []string{recreated("index_granularity = 8192", "index_granularity = 1024")}},
		{name: "days-as-partitions", alter: []string{recreated("toYYYYMM(", "toYYYYMMDD(")}},
	}},
	{"postgres", postgreSQL, []variant{
		{name: "no-key", alter: []string{"ALTER TABLE location DROP CONSTRAINT location_pkey"}},
		{name: "no-brin", alter: []string{"DROP INDEX location_ts"}},
		{name: "no-index", alter: []string{"ALTER TABLE location DROP CONSTRAINT location_pkey", "DROP INDEX location_ts"}},
		{name: "no-not-null", alter: []string{"ALTER TABLE location ALTER lat DROP NOT NULL, ALTER lon DROP NOT NULL, ALTER skipped DROP NOT NULL"}},
		{name: "own-index", alter: []string{"CREATE INDEX ON location (cell, ts)"}},
		{name: "own-check", alter: []string{"ALTER TABLE location ADD CHECK (lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180)"}},
		{name: "own-trigger", alter: []string{"CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
			"CREATE TRIGGER pass BEFORE INSERT ON location FOR EACH ROW EXECUTE FUNCTION pass()"}},
		{name: "unlogged", alter: eachPartition("SET UNLOGGED")},
		{name: "fillfactor-70", alter: eachPartition("SET (fillfactor = 70)")},
		{name: "synchronous_commit-off", server: []string{"synchronous_commit=off"}},
		{name: "commit_delay-2ms", server: []string{"commit_delay=2000", "commit_siblings=1"}},
		{name: "wal_compression-lz4", server: []string{"wal_compression=lz4"}},
		{name: "max_wal_size-4GB", server: []string{"max_wal_size=4GB"}},
		{name: "shared_buffers-1GB", server: []string{"shared_buffers=1GB"}},
		{name: "sorted", sorted: true}, {name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000},
	}},
	{"redis", redisServer, []variant{
		{name: "appendfsync-everysec", server: []string{"--appendfsync", "everysec"}}, {name: "appendfsync-no", server: []string{"--appendfsync", "no"}},
		{name: "appendonly-no", server: []string{"--appendonly", "no"}},
		{name: "expire", url: "expire=720h"}, {name: "publish", url: "changes=publish"}, {name: "stream", url: "changes=stream"},
		{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000},
	}},
}

// fetched are the stores whose servers make test-stores has.
var fetched = []contender{
	{"cassandra", cassandra, []variant{
		{name: "commitlog-batch", server: []string{"commitlog_sync: batch"}},
		{name: "no-compression", alter: []string{"ALTER TABLE pingline.pings WITH compression = {'enabled': false}"}},
		{name: "zstd", alter: []string{"ALTER TABLE pingline.pings WITH compression = {'class': 'ZstdCompressor'}"}},
		{name: "size-tiered", alter: []string{"ALTER TABLE pingline.pings WITH compaction = {'class': 'SizeTieredCompactionStrategy'}"}},
		{name: "consistency-one", url: "?consistency=ONE"}, {name: "latest", url: "?latest=true"},
		{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000}, {name: "sorted", sorted: true},
	}},
	{"kafka", kafkaBroker, []variant{
		{name: "compression-none", url: "?compression=none"}, {name: "lz4", url: "?compression=lz4"}, {name: "zstd", url: "?compression=zstd"}, {name: "gzip", url: "?compression=gzip"},
		{name: "flush-each", alter: []string{"flush.messages=1"}},
		{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000},
	}},
	{"questdb", questDB, []variant{{name: "batch-500", batch: 500}, {name: "batch-20000", batch: 20_000}, {name: "sorted", sorted: true},
		{name: "no-dedup", alter: []string{"ALTER TABLE location DEDUP DISABLE"}}}},
	{"victoriametrics", victoriaMetrics, []variant{{name: "no-snapshot", url: "?flush=false"}, {name: "batch-20000", batch: 20_000}}},
}

// eachPartition alters each day of PostgreSQL's table.
func eachPartition(change string) []string {
	return []string{"DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'location'::regclass LOOP " +
		"EXECUTE format('ALTER TABLE %s " + change + "', p); END LOOP; END $$"}
}

// inService are the arguments that a server in Java would be given, in the place of those by
// which tests make it small. The least of machines would have that much memory.
func inService(t *host) {
	t.Setenv("_JAVA_OPTIONS", "-XX:TieredStopAtLevel=4 -Xmx1g -XX:MaxDirectMemorySize=256m")
}

// until waits until ok.
func until(what string, ok func() (bool, error)) error {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var done bool
		if done, err = ok(); done && err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: not within %v: %w", what, patience, err)
}

// get returns the answer to a GET.
func get(at string) (string, error) {
	resp, err := http.Get(at)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// files returns how many files below dir end in suffix, and their bytes.
func files(dir, suffix string) (n int, size int64) {
	_ = filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(name, suffix) {
			n++
			size += info.Size()
		}
		return nil // files come and go
	})
	return n, size
}

func influxDB(t *host, v *variant, version int) *place {
	env := []string{"INFLUXDB_DATA_INDEX_VERSION=tsi1", "INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION=1s", "INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION=1s"}
	if version == 2 {
		env = []string{"INFLUXD_STORAGE_CACHE_SNAPSHOT_WRITE_COLD_DURATION=1s", "INFLUXD_STORAGE_COMPACT_FULL_WRITE_COLD_DURATION=1s"}
	}
	dir := filepath.Join(t.TempDir(), "influxdb")
	s := influxd.Run(t, influxd.Config{Version: version, Dir: dir, Env: append(env, v.server...)})
	return &place{
		shard: node.ShardConfig{URL: s.URL(), Org: s.Org(), Bucket: s.Bucket()}, token: s.Token(),
		settle: func() error { // it compacts what is not written to
			return until("all is compacted", func() (bool, error) {
				n, _ := files(dir, ".tsm")
				_, wal := files(dir, ".wal")
				return n == 1 && wal < 1000, nil
			})
		},
		disk: func() (int64, error) { return allocated(dir) },
	}
}

// recreated is a statement that makes the empty table of ClickHouse's pings anew, with a part
// of its definition replaced.
func recreated(from, to string) string { return "recreate\x00" + from + "\x00" + to }

func clickHouse(t *host, _ *variant) *place {
	s := clickhousetest.Run(t)
	query := func(statement string) error {
		_, err := s.Query(t.Context(), statement)
		return err
	}
	return &place{
		shard: node.ShardConfig{URL: s.URL("pingline"), TokenFile: s.PasswordFile()},
		exec: func(statement string) error {
			part := strings.Split(statement, "\x00")
			if part[0] != "recreate" {
				return query(statement)
			}
			made, err := s.Query(t.Context(), "SHOW CREATE TABLE pingline.pings FORMAT TSVRaw")
			if err == nil && !strings.Contains(made, part[1]) {
				err = fmt.Errorf("no %q in %s", part[1], made)
			}
			if err != nil {
				return err
			}
			other := strings.Replace(strings.Replace(made, part[1], part[2], 1), "TABLE pingline.pings", "TABLE pingline.other", 1)
			for _, statement := range []string{other, "INSERT INTO pingline.other SELECT * FROM pingline.pings", "DROP TABLE pingline.pings", "RENAME TABLE pingline.other TO pingline.pings"} {
				if err := query(statement); err != nil {
					return err
				}
			}
			return nil
		},
		settle: func() error { // 18.16 merges a partition by its name only
			list, err := s.Query(t.Context(), "SELECT DISTINCT partition FROM system.parts WHERE active AND database = 'pingline' AND table = 'pings'")
			for partition := range strings.FieldsSeq(list) {
				err = errors.Join(err, query("OPTIMIZE TABLE pingline.pings PARTITION "+partition+" FINAL"))
			}
			return err
		},
		disk: func() (int64, error) {
			text, err := s.Query(t.Context(), "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'pingline' AND table = 'pings'")
			return number(text, err)
		},
	}
}

func number(text string, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
}

func postgreSQL(t *host, v *variant) *place {
	s := postgrestest.Run(t, append([]string{"fsync=on", "shared_buffers=128MB", "wal_level=replica", "max_wal_senders=10"}, v.server...)...)
	exec := func(statement string) error { return s.TryExec("pingline", statement) }
	return &place{
		shard: node.ShardConfig{URL: s.URL("pingline"), TokenFile: s.PasswordFile()}, exec: exec,
		settle: func() error { return errors.Join(exec("VACUUM (ANALYZE) location"), exec("CHECKPOINT")) },
		disk: func() (int64, error) {
			return number(s.Text(t, "pingline", "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'location'::regclass"), nil)
		},
	}
}

func redisServer(t *host, v *variant) *place {
	s := redistest.Run(t, v.server...)
	return &place{
		shard: node.ShardConfig{URL: s.URL(), TokenFile: s.PasswordFile(), Settings: v.url},
		settle: func() error {
			if _, err := s.Try("BGREWRITEAOF"); err != nil {
				return err
			}
			return until("the file of commands is written anew", func() (bool, error) {
				info, err := s.Try("INFO persistence")
				text := fmt.Sprint(info)
				return strings.Contains(text, "aof_rewrite_in_progress:0") && strings.Contains(text, "aof_rewrite_scheduled:0"), err
			})
		},
		disk: func() (int64, error) {
			return allocated(filepath.Join(filepath.Dir(s.PasswordFile()), "appendonlydir"))
		},
	}
}

func cassandra(t *host, v *variant) *place {
	inService(t)
	s := cassandratest.Run(t, append([]string{"commitlog_sync: periodic", "commitlog_sync_period: 10s", "memtable_heap_space: 256MiB"}, v.server...)...)
	dir := filepath.Join(filepath.Dir(s.PasswordFile()), "data", "data", "pingline")
	return &place{
		shard: node.ShardConfig{URL: s.URL("pingline") + v.url, TokenFile: s.PasswordFile()},
		exec:  s.Try,
		settle: func() error { // one that is told to end writes all to files first
			for _, pid := range descendants() {
				if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
					return err
				}
				if err := until("Cassandra has ended", func() (bool, error) { return len(descendants()) == 0, nil }); err != nil {
					return err
				}
			}
			return nil
		},
		disk: func() (int64, error) {
			found, err := filepath.Glob(filepath.Join(dir, "pings-*"))
			if err != nil {
				return 0, err
			}
			n, err := allocated(found...)
			return n, errors.Join(err, s.Restart())
		},
	}
}

func kafkaBroker(t *host, v *variant) *place {
	inService(t)
	c := kafkatest.Run(t, 1, false)
	return &place{
		shard:  node.ShardConfig{URL: "kafka://" + strings.Join(c.Seeds, ",") + "/pings" + v.url},
		settle: func() error { return nil },
		exec: func(setting string) error {
			return kafkatest.SetTopic(t.Context(), c.Client(t), "pings", setting)
		},
		disk: func() (int64, error) {
			found, err := filepath.Glob(filepath.Join(t.dirs[len(t.dirs)-1], "data", "pings-*"))
			if err != nil {
				return 0, err
			}
			return allocated(found...)
		},
	}
}

func questDB(t *host, _ *variant) *place {
	inService(t)
	s := unreadtest.QuestDB(t)
	return &place{
		shard: node.ShardConfig{URL: "questdb://" + s.Addr},
		exec: func(statement string) error {
			_, err := s.Exec(statement)
			return err
		},
		settle: func() error {
			return until("the log is applied", func() (bool, error) {
				var said struct{ Dataset [][]int }
				text, err := s.Exec("SELECT count() FROM wal_tables() WHERE name = 'location' AND writerTxn = sequencerTxn")
				if err == nil {
					err = json.Unmarshal(text, &said)
				}
				return err == nil && said.Dataset[0][0] == 1, err
			})
		},
		disk: func() (int64, error) { // of days and of the symbols' texts, not of the log that was applied
			found, err := filepath.Glob(filepath.Join(t.dirs[len(t.dirs)-1], "db", "location~*", "[!ws_]*"))
			if err != nil {
				return 0, err
			}
			return allocated(found...)
		},
	}
}

func victoriaMetrics(t *host, v *variant) *place {
	s := unreadtest.VictoriaMetrics(t)
	return &place{
		shard: node.ShardConfig{URL: "victoriametrics://" + s.Addr + v.url},
		settle: func() error {
			for _, path := range []string{"/internal/force_flush", "/internal/force_merge?" + url.Values{"partition_prefix": {""}}.Encode()} {
				if _, err := get("http://" + s.Addr + path); err != nil {
					return err
				}
			}
			return until("all is merged", func() (bool, error) {
				text, err := get("http://" + s.Addr + "/metrics")
				return strings.Contains(text, "vm_active_force_merges 0"), err
			})
		},
		disk: func() (int64, error) { return allocated(t.dirs[len(t.dirs)-1]) },
	}
}
