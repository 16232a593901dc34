package unread

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"pingline/sink/influx"
	"pingline/sink/store"
)

// Schema returns the statements that make the tables of a QuestDB, in which a row written twice is
// one row.
func Schema() []string {
	tags, fields := influx.Names()
	return []string{
		table(influx.Measurement, tags, fields, map[string]string{"event": "VARCHAR", "trip": "VARCHAR", "skipped": "LONG"}),
		table("cell_activity", []string{"cell", "node", "res", "window"}, []string{"pings", "riders", "moving", "waiting", "speed_mean", "speed_max", "parts"},
			map[string]string{"pings": "LONG", "riders": "LONG", "moving": "LONG", "waiting": "LONG", "parts": "LONG"}),
	}
}

// table returns the statement for a table whose fields are DOUBLE where types do not say otherwise.
func table(name string, tags, fields []string, types map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (", name)
	for _, tag := range tags {
		fmt.Fprintf(&b, `"%s" SYMBOL, `, tag)
	}
	for _, field := range fields {
		of := types[field]
		if of == "" {
			of = "DOUBLE"
		}
		fmt.Fprintf(&b, `"%s" %s, `, field, of)
	}
	fmt.Fprintf(&b, `timestamp TIMESTAMP_NS) TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, "%s")`, strings.Join(tags, `", "`))
	return b.String()
}

// name is how its makers write the kind.
func (s *LineServer) name() string {
	if s.kind == QuestDB {
		return "QuestDB"
	}
	return "VictoriaMetrics"
}

// Check finds out whether the server answers, takes writes, and makes one row of a row that is
// written twice. It writes no point.
func (s *LineServer) Check(ctx context.Context) []store.Finding {
	reachable := store.Finding{What: "reachable"}
	began := time.Now()
	if _, err := s.ask(ctx, "/ping", nil); err != nil {
		reachable.Found, reachable.Remedy = err.Error(), "check the URL, and that the server runs and no firewall or proxy is in between"
		return []store.Finding{reachable}
	}
	reachable.Found = fmt.Sprintf("%s is a %s, answers in %d ms", s.to.URL(), s.name(), time.Since(began).Milliseconds())
	write := store.Finding{What: "write", Found: "the token may write"}
	refusal := new(store.Refusal)
	if err := s.to.Write(ctx, store.Rows{}); err != nil && (!errors.As(err, &refusal) || refusal.Kind != store.BadRows) {
		write.Found, write.Remedy = err.Error(), "check the server"
		if refusal.Advice != "" {
			write.Remedy = refusal.Advice
		}
	}
	read := store.Finding{What: "read", Found: "reads are off: a " + s.name() + " answers no InfluxQL; unless another set can be read, tracks have only the pings that wait in memory"}
	once := store.Finding{What: "row written twice", Found: "is one row"}
	if s.kind == QuestDB {
		s.checkTables(ctx, &once)
	} else {
		s.checkFlags(ctx, &once)
	}
	return []store.Finding{reachable, write, once, read}
}

// checkTables asks a QuestDB whether its table for pings keeps one of rows with the same key.
func (s *LineServer) checkTables(ctx context.Context, f *store.Finding) {
	var said struct{ Dataset [][]bool }
	text, err := s.ask(ctx, "/exec", url.Values{"query": {"SELECT dedup FROM tables() WHERE table_name = '" + influx.Measurement + "'"}})
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	switch {
	case err != nil:
		f.Found = fmt.Sprintf("is not known to be one row: %v", err)
	case len(said.Dataset) == 0 && s.create:
		f.Found = "is one row: the tables will be made"
	case len(said.Dataset) == 0:
		f.Found, f.Remedy = "will be two: there is no table "+influx.Measurement, "make the tables that pingline schema questdb prints"
	case !said.Dataset[0][0]:
		f.Found, f.Remedy = "is two rows: the table "+influx.Measurement+" has no keys", "ALTER TABLE "+influx.Measurement+" DEDUP ENABLE UPSERT KEYS(timestamp, cell, clock, device, late, rider), with those of the columns that it has"
	}
}

// checkFlags asks a VictoriaMetrics whether it keeps one of samples of the same ms.
func (s *LineServer) checkFlags(ctx context.Context, f *store.Finding) {
	const flag = "dedup.minScrapeInterval"
	text, err := s.ask(ctx, "/flags", nil)
	switch {
	case err != nil:
		f.Found = fmt.Sprintf("is not known to be one: %v", err)
	case !strings.Contains(string(text), flag+`="1ms"`):
		f.Found, f.Remedy = "is two samples: -"+flag+" is not 1ms", "start VictoriaMetrics with -"+flag+"=1ms"
	}
}
