package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
	"pingline/sink/store"
)

// Check finds out whether the cluster answers, whether the tables fit, and whether the role may
// write to them and read them. It makes nothing.
func (k *Keyspace) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 4*k.cfg.Timeout)
	defer cancel()
	found := func(what, ok, remedy string, err error) store.Finding {
		f := store.Finding{What: what, Found: ok}
		if err != nil {
			r := refusal(err)
			f.Found, f.Remedy = r.Error(), cmp.Or(r.Advice, remedy)
			if errors.As(err, new(*gocql.RequestErrUnavailable)) {
				f.Remedy = "start the nodes that are down, give the keyspace more replicas, or name a lower consistency in the url"
			}
		}
		return f
	}
	began := time.Now()
	l, err := k.open(ctx)
	var version string
	if err == nil {
		err = l.session.Query("SELECT release_version FROM system.local").Consistency(gocql.LocalOne).ScanContext(ctx, &version)
	}
	if err != nil {
		return []store.Finding{found("reachable", "", "check the nodes in the url", err)}
	}
	list := []store.Finding{found("reachable", fmt.Sprintf("%s is Cassandra %s, %d of its nodes known, answers in %d ms",
		strings.Join(k.to.hosts, ","), version, l.nodes, time.Since(began).Milliseconds()), "", nil)}
	if why := k.elsewhere(l); why != "" {
		list = append(list, store.Finding{What: "datacenter", Found: why, Remedy: "name a data centre of the cluster in the url"})
	}
	f, err := k.look(ctx, l)
	if err != nil {
		return append(list, found("schema", "", "check the nodes in the url", err))
	}
	k.learnBare(f)
	absent, err := k.missing(f)
	switch {
	case err != nil:
		return append(list, found("schema", "", adviceAlter, err))
	case len(absent) > 0 && !k.cfg.CreateSchema:
		return append(list, found("schema", "", adviceStatements, &tablesUnfit{k.absent(f, absent), adviceStatements}))
	case len(absent) > 0:
		return append(list, found("schema", k.absent(f, absent)+": it is made with the first write", "", nil))
	}
	fits := fmt.Sprintf("tables %s, %s and %s fit", Pings, Points, Spans)
	if why := k.DropsAttrs(); why != "" {
		fits += ", but attributes of pings are not kept: " + why
	}
	list = append(list, found("schema", fits, "", nil),
		found("write", "the role may write", "check the nodes in the url", k.probe(ctx, l)))
	err = k.points(ctx, store.Query{From: -1, To: 0, Rider: "-"}, func(*pingline.Entry, int64) error { return nil })
	if errors.Is(err, errAbsent) {
		err = nil
	}
	return append(list, found("read", "the role may read", "grant the role SELECT: without it tracks have only the pings that wait in memory", err))
}

// elsewhere says that no node is in the data centre of the URL, "" if one is, or if it names none.
func (k *Keyspace) elsewhere(l *link) string {
	centres := make(map[string]bool)
	for _, h := range l.session.GetHosts() {
		centres[h.DataCenter()] = true
	}
	if k.to.datacenter == "" || centres[k.to.datacenter] {
		return ""
	}
	return fmt.Sprintf("no node is in %s, only in %s", k.to.datacenter, strings.Join(slices.Sorted(maps.Keys(centres)), ", "))
}
