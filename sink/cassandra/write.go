package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
	"pingline/sink/store"
)

// AppendRow appends e as a row: see appendRow.
func (k *Keyspace) AppendRow(dst []byte, e *pingline.Entry) []byte { return appendRow(dst, e) }

// Write makes an attempt to write rows, as store.Store wants it.
func (k *Keyspace) Write(ctx context.Context, rows store.Rows) error {
	err := k.write(ctx, rows)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("write to %s: %w", k.where, ctx.Err())
	}
	r := refusal(err)
	if m := new(tablesUnfit); errors.As(err, &m) {
		k.note(fmt.Sprintf("%s: %s: %s", k.where, m.found, m.advice))
	}
	return fmt.Errorf("write to %s: %w", k.where, r)
}

// mutation is rows of a partition, at most so many and of about so many bytes that a node takes
// it as one.
type mutation struct {
	table *cqlTable
	rows  [][]byte
	index []int // of each row in the write
}

// batchBytes ends a request behind the row that reaches it.
const batchBytes = 32 << 10

// partitioned is the rows of a write.
type partitioned struct {
	requests []*mutation
	spans    []spanKey
	newest   []*mutation // of the table latest
}

// sort gathers rows by partition, the last of those with the same key only, or refuses some
// that no Cassandra would take.
func (k *Keyspace) sort(rows store.Rows) (*partitioned, error) {
	w := &partitioned{}
	open := make(map[string]*mutation, rows.N) // by partition: the request that still takes rows
	var lines, large []int
	left := rows.Bytes
	for i := range rows.N {
		kind, row, rest, err := cutRow(left)
		if err != nil {
			return nil, err
		}
		left = rest
		t := &pingTable
		switch kind {
		case rowLine:
			lines = append(lines, i)
			continue
		case rowLarge:
			large = append(large, i)
			continue
		case rowPoint:
			t = &pointTable
		}
		partition, _, err := head(row, t.partition)
		if err != nil {
			return nil, err
		}
		r := open[string(partition)]
		if r == nil {
			r = &mutation{table: t}
			open[string(partition)] = r
			w.requests = append(w.requests, r)
		}
		r.rows, r.index = append(r.rows, row), append(r.index, i)
	}
	if bad := refuse(rows.N, large, store.TooLarge, "a point is too long to be a row"); bad != nil {
		return nil, bad
	}
	if bad := refuse(rows.N, lines, store.Unparsable, "a line of an earlier version"); bad != nil {
		return nil, bad
	}
	return w, w.prepare(k)
}

func refuse(n int, list []int, reason, why string) error {
	if len(list) == 0 {
		return nil
	}
	return &store.Refusal{Kind: store.BadRows, Reason: reason, Suspects: list, All: len(list) == n, Err: errors.New(why)}
}

// prepare takes out rows that come again, notes spans, and cuts what is too much for one
// request. A request has a partition so far.
func (w *partitioned) prepare(k *Keyspace) error {
	whole := w.requests
	w.requests = make([]*mutation, 0, len(whole))
	for _, r := range whole {
		if err := r.unique(); err != nil {
			return err
		}
		s, err := spanOf(r)
		if err != nil {
			return err
		}
		if !slices.Contains(w.spans, s) {
			w.spans = append(w.spans, s)
		}
		if k.to.latest && r.table == &pingTable {
			if err := w.addLatest(r); err != nil {
				return err
			}
		}
		w.requests = r.cut(w.requests, k.cfg.BatchRows)
	}
	return nil
}

// unique leaves the last of rows with the same key: rows of a request have one time of
// writing, and Cassandra would take the larger value of each column.
func (r *mutation) unique() error {
	if len(r.rows) == 1 {
		return nil
	}
	last := make(map[string]int, len(r.rows))
	n := 0
	for i, row := range r.rows {
		key, _, err := head(row, r.table.keys)
		if err != nil {
			return err
		}
		if at, again := last[string(key)]; again {
			r.rows[at], r.index[at] = row, r.index[i]
			continue
		}
		last[string(key)] = n
		r.rows[n], r.index[n] = row, r.index[i]
		n++
	}
	r.rows, r.index = r.rows[:n], r.index[:n]
	return nil
}

// cut appends r to list, in parts.
func (r *mutation) cut(list []*mutation, most int) []*mutation {
	from, size := 0, 0
	for i, row := range r.rows {
		if size += len(row); i+1-from == most || size >= batchBytes || i+1 == len(r.rows) {
			list = append(list, &mutation{table: r.table, rows: r.rows[from : i+1], index: r.index[from : i+1]})
			from, size = i+1, 0
		}
	}
	return list
}

func (k *Keyspace) write(ctx context.Context, rows store.Rows) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := k.sort(rows)
	if err != nil {
		return err
	}
	l, err := k.open(ctx)
	if err != nil {
		return err
	}
	made, err := k.ready(ctx, l, true)
	if err == nil {
		err = k.try(ctx, l, w)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if lost(err) {
		k.forget(l)
		return err
	}
	if doubtful(err) && !made { // is it the rows, or are the tables not what they were?
		l.fits.Store(false)
		made, unfit := k.ready(ctx, l, true)
		switch {
		case unfit != nil:
			return unfit
		case made:
			return k.try(ctx, l, w)
		}
	}
	return err
}

// try makes one attempt.
func (k *Keyspace) try(ctx context.Context, l *link, w *partitioned) error {
	if len(w.requests) == 0 {
		return k.probe(ctx, l)
	}
	at := stamp()
	if err := k.writeSpans(ctx, l, w.spans); err != nil {
		return err
	}
	if err := k.send(ctx, l, w.requests, at); err != nil {
		return err
	}
	if len(w.newest) == 0 {
		return nil
	}
	return k.send(ctx, l, w.newest, at)
}

// probe finds out whether a write would be taken, by the deletion of a row that never is.
func (k *Keyspace) probe(ctx context.Context, l *link) error {
	return l.session.Query("DELETE FROM " + k.to.keyspace + ".pings WHERE rider = '' AND day = '1970-01-01' AND ts = 0 AND nano = -1 AND device = '' AND cell = 0 AND late = false AND corrected = false").
		WithTimestamp(stamp()).ExecContext(ctx)
}

// send makes requests, many at once, and returns when all have ended. Requests whose rows are
// refused do not keep others from being made; another fault does.
func (k *Keyspace) send(ctx context.Context, l *link, list []*mutation, at int64) error {
	s := &sending{k: k, l: l, list: list, at: at}
	if len(list) == 1 {
		s.work(ctx)
		return s.result()
	}
	var wg sync.WaitGroup
	for range min(len(list), cap(l.slots)) {
		wg.Go(func() { s.work(ctx) })
	}
	wg.Wait()
	return s.result()
}

// sending is requests on their way.
type sending struct {
	k    *Keyspace
	l    *link
	list []*mutation
	at   int64 // time of writing, µs

	next atomic.Int64 // in list

	mu      sync.Mutex // guards err, refused and bad; nothing else is locked under it
	err     error
	refused *badRequest
	bad     []int // rows
}

// badRequest is an error of requests whose rows may be the cause.
type badRequest struct {
	error
	rows []int
}

func (e *badRequest) Unwrap() error { return e.error }

func (s *sending) work(ctx context.Context) {
	w := &worker{k: s.k, at: s.at, session: s.l.session}
	for {
		i := s.next.Add(1) - 1
		if i >= int64(len(s.list)) {
			return
		}
		select {
		case s.l.slots <- struct{}{}:
		case <-ctx.Done():
			s.fail(ctx.Err(), nil)
			return
		}
		err := w.do(ctx, s.list[i])
		<-s.l.slots
		if err != nil {
			s.fail(err, s.list[i])
		}
	}
}

func (s *sending) fail(err error, r *mutation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r != nil && faultOfRows(err) != "" {
		s.bad = append(s.bad, r.index...)
		s.refused = &badRequest{err, nil}
		return
	}
	s.next.Store(math.MaxInt32) // no more are begun
	if s.err == nil {
		s.err = err
	}
}

func (s *sending) result() error {
	if s.err != nil || s.refused == nil {
		return s.err
	}
	slices.Sort(s.bad)
	s.refused.rows = s.bad
	return s.refused
}

// worker makes one request after another. Its memory is used again.
type worker struct {
	session *gocql.Session
	k       *Keyspace
	at      int64
	cells   []cqlValue
	args    []any
}

func (w *worker) do(ctx context.Context, r *mutation) error {
	n := w.k.columnsOf(r.table)
	if size := n * len(r.rows); len(w.cells) < size {
		w.cells, w.args = make([]cqlValue, size), make([]any, size)
	}
	for i, row := range r.rows {
		if err := values(row, w.cells[i*n:(i+1)*n], w.args[i*n:(i+1)*n]); err != nil {
			return err
		}
	}
	statement := r.table.insert(w.k.to.keyspace, n)
	at := w.at
	if r.table == &latestTable {
		at = latestStamp(r.rows[0])
	}
	if len(r.rows) == 1 {
		return w.session.Query(statement, w.args[:n]...).WithTimestamp(at).ExecContext(ctx)
	}
	b := w.session.Batch(gocql.UnloggedBatch).SetKeyspace(w.k.to.keyspace).WithTimestamp(at)
	b.Entries = make([]gocql.BatchEntry, len(r.rows))
	for i := range r.rows {
		b.Entries[i] = gocql.BatchEntry{Stmt: statement, Args: w.args[i*n : (i+1)*n], Idempotent: true}
	}
	return b.ExecContext(ctx)
}
