package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Check finds out whether the server answers, whether the tables fit, and whether the
// user may write and read. It makes no tables and writes no row.
func (t *Tables) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 4*t.cfg.Timeout)
	defer cancel()
	began := time.Now()
	f, err := t.find(ctx)
	if err != nil {
		return []store.Finding{t.found("reachable", err, "check the url, and that ClickHouse runs and no firewall or proxy is in between")}
	}
	list := []store.Finding{{What: "reachable", Found: fmt.Sprintf("%s is ClickHouse %s, answers in %d ms", t.base, f.version, time.Since(began).Milliseconds())}}
	if err := t.fit(ctx, f, false); err != nil {
		if t.cfg.CreateSchema && errors.Is(err, errNoTables) {
			return append(list, store.Finding{What: "tables", Found: fmt.Sprintf("are not in database %q yet, and are made at the first write", t.database)})
		}
		return append(list, t.found("tables", err, adviceTables))
	}
	fits := fmt.Sprintf("fit, in database %q", t.database)
	if f.bare != "" {
		fits += ", but attributes of pings are not kept: " + f.bare
	}
	list = append(list, store.Finding{What: "tables", Found: fits})
	write := store.Finding{What: "write", Found: "the user may write"}
	if err := t.Write(ctx, store.Rows{}); err != nil {
		write = t.found("write", err, "check the server")
	}
	read := store.Finding{What: "read", Found: "the user may read"}
	if err := t.Points(ctx, store.Query{To: 1, Limit: 1}, func(*pingline.Entry, int64) error { return nil }); err != nil {
		read = t.found("read", err, "let the user SELECT from the tables: without it tracks have only the pings that wait in memory")
	}
	return append(list, write, read)
}

// found returns a finding of an error, with the advice that it has, or else remedy.
func (t *Tables) found(what string, err error, remedy string) store.Finding {
	if said := new(saidError); errors.As(err, &said) && said.advice != "" {
		remedy = said.advice
	}
	return store.Finding{What: what, Found: err.Error(), Remedy: remedy}
}

// Notes returns a sentence if the tables do not fit.
func (t *Tables) Notes() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.misfit == "" {
		return nil
	}
	return []string{t.misfit + ": " + adviceTables}
}

var ttl = regexp.MustCompile(`TTL .*toIntervalSecond\((\d+)\)`)

// Retention returns how long the table of pings keeps rows, 0 for ever. It does not know
// a rule that was made by hand in other words.
func (t *Tables) Retention(ctx context.Context) (keep time.Duration, told bool) {
	have, err := t.describe(ctx)
	if err != nil || have[tablePings] == nil {
		return 0, false
	}
	m := ttl.FindStringSubmatch(have[tablePings].made)
	if m == nil {
		return 0, !hasTTL.MatchString(have[tablePings].made)
	}
	seconds, err := strconv.ParseInt(m[1], 10, 64)
	return time.Duration(seconds) * time.Second, err == nil
}

var hasTTL = regexp.MustCompile(`\bTTL\b`)
