package influxd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// api1 speaks InfluxQL to a 1.8.
type api1 Server

func (a *api1) command() (args, env []string) {
	env = []string{
		"INFLUXDB_REPORTING_DISABLED=true",
		"INFLUXDB_BIND_ADDRESS=127.0.0.1:0", // backup and restore: never used
		"INFLUXDB_HTTP_BIND_ADDRESS=" + (*Server)(a).addr(),
		"INFLUXDB_HTTP_LOG_ENABLED=false",
		"INFLUXDB_HTTP_AUTH_ENABLED=" + strconv.FormatBool(a.cfg.Token != ""),
		"INFLUXDB_MONITOR_STORE_ENABLED=false",
		"INFLUXDB_META_DIR=" + filepath.Join(a.cfg.Dir, "meta"),
		"INFLUXDB_DATA_DIR=" + filepath.Join(a.cfg.Dir, "data"),
		"INFLUXDB_DATA_WAL_DIR=" + filepath.Join(a.cfg.Dir, "wal"),
	}
	return []string{"run", "-config", os.DevNull}, env
}

func (a *api1) identify(ctx context.Context, pid int) error {
	system, err := a.query(ctx, "SHOW DIAGNOSTICS FOR 'system'")
	if err != nil && a.cfg.Token != "" && strings.Contains(err.Error(), "create admin user first") {
		user, password, _ := strings.Cut(a.cfg.Token, ":")
		_, err = a.query(ctx, "CREATE USER "+identifier(user)+" WITH PASSWORD "+literal(password)+" WITH ALL PRIVILEGES")
		if err == nil {
			return a.identify(ctx, pid)
		}
	}
	if err != nil {
		return err
	}
	if got := system.cell("PID"); got != strconv.Itoa(pid) {
		return fmt.Errorf("%s is answered by process %q, not by our %d", (*Server)(a).addr(), got, pid)
	}
	return nil
}

func (a *api1) setUp(ctx context.Context) error {
	return a.createBucket(ctx, a.cfg.Bucket, a.cfg.Retention)
}

// createBucket makes a database and its default policy, or a database and
// another policy.
func (a *api1) createBucket(ctx context.Context, name string, keep time.Duration) error {
	duration := "INF"
	if keep > 0 {
		duration = strconv.FormatInt(int64(keep/time.Second), 10) + "s"
	}
	db, policy, named := strings.Cut(name, "/")
	q := "CREATE DATABASE " + identifier(db)
	switch {
	case named:
		q += "; CREATE RETENTION POLICY " + identifier(policy) + " ON " + identifier(db) + " DURATION " + duration + " REPLICATION 1"
	case keep > 0:
		q += " WITH DURATION " + duration
	}
	_, err := a.query(ctx, q)
	return err
}

// setRetention keeps shards short, so that points that are kept longer than
// before do not share a shard with new points.
func (a *api1) setRetention(ctx context.Context, bucket string, keep time.Duration) error {
	db, policy, named := strings.Cut(bucket, "/")
	if !named {
		policy = "autogen"
	}
	duration := "INF"
	if keep > 0 {
		duration = strconv.FormatInt(int64(keep/time.Second), 10) + "s"
	}
	_, err := a.query(ctx, "ALTER RETENTION POLICY "+identifier(policy)+" ON "+identifier(db)+" DURATION "+duration+" SHARD DURATION 1h")
	return err
}

// deleteBefore leaves out the policy, since DELETE in InfluxQL ignores it.
func (a *api1) deleteBefore(ctx context.Context, bucket string, before time.Time) error {
	db, _, _ := strings.Cut(bucket, "/")
	_, err := a.queryIn(ctx, db, "DELETE WHERE time < "+strconv.FormatInt(before.UnixMilli(), 10)+"ms")
	return err
}

// createToken makes a user; in 1.8 rights are rights to a database.
func (a *api1) createToken(ctx context.Context, bucket string, read, write bool) (string, error) {
	user := "user-" + strconv.FormatUint(rand.Uint64(), 36)
	db, _, _ := strings.Cut(bucket, "/")
	q := "CREATE USER " + identifier(user) + " WITH PASSWORD 'secret'"
	if privilege := [...]string{"", "READ", "WRITE", "ALL"}[bit(read)|bit(write)<<1]; privilege != "" {
		q += "; GRANT " + privilege + " ON " + identifier(db) + " TO " + identifier(user)
	}
	_, err := a.query(ctx, q)
	return user + ":secret", err
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (a *api1) mapBucket(context.Context, string, string, string) error {
	return fmt.Errorf("not on 1.8: %w", errors.ErrUnsupported)
}

func (a *api1) points(ctx context.Context, bucket string) (list []string, err error) {
	db, _, _ := strings.Cut(bucket, "/")
	ans, err := a.queryIn(ctx, db, "SELECT * FROM /.*/ GROUP BY *")
	if err != nil {
		return nil, err
	}
	for _, r := range ans.Results {
		for _, s := range r.Series {
			list = s.appendPoints(list)
		}
	}
	slices.Sort(list)
	return list, nil
}

func (a *api1) query(ctx context.Context, q string) (*influxqlAnswer, error) {
	return a.queryIn(ctx, "", q)
}

func (a *api1) queryIn(ctx context.Context, db, q string) (*influxqlAnswer, error) {
	form := url.Values{"q": {q}, "db": {db}, "epoch": {"ns"}}.Encode()
	status, text, err := (*Server)(a).request(ctx, http.MethodPost, "/query", "application/x-www-form-urlencoded", form)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q, err)
	}
	var ans influxqlAnswer
	if err := json.Unmarshal(text, &ans); err != nil {
		return nil, fmt.Errorf("%s: status %d: %w", q, status, err)
	}
	if err := ans.err(); err != nil {
		return nil, fmt.Errorf("%s: %w", q, err)
	}
	return &ans, nil
}

func identifier(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

func literal(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + `'`
}

// influxqlAnswer is the JSON answer to InfluxQL.
type influxqlAnswer struct {
	Error   string
	Results []struct {
		Error  string
		Series []selectedSeries
	}
}

// selectedSeries is a series in an answer to InfluxQL.
type selectedSeries struct {
	Name    string
	Tags    map[string]string
	Columns []string
	Values  [][]json.RawMessage
}

// appendPoints writes each row as a point; the first column is its time.
func (s *selectedSeries) appendPoints(points []string) []string {
	head := s.Name
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		if s.Tags[key] != "" {
			head += "," + key + "=" + s.Tags[key]
		}
	}
	for _, row := range s.Values {
		var fields []string
		for i, v := range row[1:] {
			if string(v) != "null" {
				fields = append(fields, s.Columns[i+1]+"="+string(v))
			}
		}
		slices.Sort(fields)
		points = append(points, head+" "+strings.Join(fields, ",")+" "+string(row[0]))
	}
	return points
}

// cell is the JSON text in a column of the first row, or "".
func (a *influxqlAnswer) cell(column string) string {
	for _, r := range a.Results {
		for _, s := range r.Series {
			for i, c := range s.Columns {
				if c == column && len(s.Values) > 0 && i < len(s.Values[0]) {
					return string(s.Values[0][i])
				}
			}
		}
	}
	return ""
}

func (a *influxqlAnswer) err() error {
	if a.Error != "" {
		return errors.New(a.Error)
	}
	for _, r := range a.Results {
		if r.Error != "" {
			return errors.New(r.Error)
		}
	}
	return nil
}
