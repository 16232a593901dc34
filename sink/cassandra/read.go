package cassandra

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
	"pingline/sink/store"
)

const (
	// pageRows is the most rows that a node is asked for at once.
	pageRows = 2000

	// aheadMost is the most questions of a query that are asked at once. Each holds a page.
	aheadMost = 4

	// rangesPerNode is into how many parts a question to all partitions is cut, for each node,
	// so that none takes a node long.
	rangesPerNode = 16
	mostRanges    = 1024

	// turnedRows is the most rows of a partition that are kept to be passed on newest first.
	turnedRows = 5000
)

// errAbsent is the error that there are no tables to read.
var errAbsent = errors.New("there are no tables")

// readable returns a session, with which the tables are known to fit. It makes none.
func (k *Keyspace) readable(ctx context.Context) (*link, error) {
	l, err := k.open(ctx)
	if err != nil || l.fits.Load() {
		return l, err
	}
	f, err := k.look(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, t := range []*cqlTable{&pingTable, &pointTable, &spanTable} {
		if f.columns[t.name] == nil {
			return nil, errAbsent
		}
	}
	k.learnBare(f)
	_, err = k.missing(f)
	return l, err
}

// readFault turns an error of a read into one to be returned.
func (k *Keyspace) readFault(ctx context.Context, what string, err error) error {
	passed := new(eachFault)
	switch {
	case err == nil || errors.Is(err, errAbsent):
		return nil
	case errors.As(err, &passed):
		return passed.err
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", what, k.where, ctx.Err())
	}
	k.mu.Lock()
	l := k.link
	k.mu.Unlock()
	if l != nil && lost(err) {
		k.forget(l)
	}
	if l != nil && doubtful(err) {
		l.fits.Store(false)
	}
	return fmt.Errorf("%s %s: %w", what, k.where, refusal(err))
}

// eachFault is an error of the caller's.
type eachFault struct{ err error }

func (e *eachFault) Error() string { return e.err.Error() }

// inquiry is a statement and its arguments.
type inquiry struct {
	statement string
	args      []any
}

// stream asks n questions, several at once, and calls each with the columns of every row, in
// the order of the questions. The columns are valid during the call.
func (k *Keyspace) stream(ctx context.Context, l *link, n, columns int, ask func(i int) inquiry, each func(row []cqlValue) error) error {
	ctx, cancel := context.WithCancel(ctx)
	answers := make([]chan *gocql.Iter, n)
	begun := 0
	defer func() {
		cancel()
		for _, a := range answers[:begun] {
			if a != nil {
				_ = (<-a).Close()
			}
		}
	}()
	row, dest := make([]cqlValue, columns), make([]any, columns)
	for i := range row {
		dest[i] = &row[i]
	}
	for i := range answers {
		for ; begun < n && begun < i+aheadMost; begun++ {
			a := make(chan *gocql.Iter, 1)
			answers[begun] = a
			q := ask(begun)
			go func() { a <- l.session.Query(q.statement, q.args...).PageSize(pageRows).IterContext(ctx) }()
		}
		scan := <-answers[i]
		answers[i] = nil
		for scan.Scan(dest...) {
			if err := each(row); err != nil {
				_ = scan.Close()
				return &eachFault{err}
			}
		}
		if err := scan.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Points calls each for every stored ping that q selects, as store.Reader wants it. A rider's
// are read day by day. Those of every rider are read from all partitions, once for each day
// that has pings: where the files of a table are cut by time, from those of the time alone.
func (k *Keyspace) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	return k.readFault(ctx, "read pings from", k.points(ctx, q, each))
}

func (k *Keyspace) points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	l, err := k.readable(ctx)
	if err != nil {
		return err
	}
	first, last := floorTo(q.From, milliPerDay), floorTo(q.To-1, milliPerDay)
	if q.From >= q.To {
		return nil
	}
	days, err := k.readSpans(ctx, l, spanPings, first, last)
	if err != nil {
		return err
	}
	if q.Newest {
		slices.Reverse(days)
	}
	s := &selection{k: k, l: l, q: q, each: each, several: len(days) > 1}
	if q.Rider != "" {
		return s.rider(ctx, days, q.Rider)
	}
	for _, day := range days {
		if err := s.everyone(ctx, day); err != nil {
			return err
		}
	}
	return nil
}

// selection is a query on its way.
type selection struct {
	k       *Keyspace
	l       *link
	q       store.Query
	each    func(e *pingline.Entry, nano int64) error
	several bool // several days

	e      pingline.Entry
	counts map[uint64]int // of series, by hash
	hash   maphash.Hash

	rider1  string        // of the partition being read, of several riders
	turned  []turnedEntry // its rows, to be passed on newest first
	tooMany bool
}

type turnedEntry struct {
	e    pingline.Entry
	nano int64
}

// selectPings begins a statement that reads so many of the columns of pings.
func selectPings(columns int) string {
	return "SELECT " + pingTable.names(pingTable.columns[:columns]) + " FROM "
}

// rider passes on the pings of a rider.
func (s *selection) rider(ctx context.Context, days []int64, rider string) error {
	columns := s.k.columnsOf(&pingTable)
	statement := selectPings(columns) + s.k.to.keyspace + ".pings WHERE rider = ? AND day = ? AND ts >= ? AND ts < ?"
	if s.q.Newest {
		statement += " ORDER BY ts DESC"
	}
	return s.k.stream(ctx, s.l, len(days), columns, func(i int) inquiry {
		return inquiry{statement, []any{rider, dateValue(days[i]), time.UnixMilli(s.q.From), time.UnixMilli(s.q.To)}}
	}, func(row []cqlValue) error {
		nano, ok := s.set(row)
		if !ok {
			return nil
		}
		return s.pass(&s.e, nano)
	})
}

// everyone passes on the pings of a day.
func (s *selection) everyone(ctx context.Context, day int64) error {
	columns := s.k.columnsOf(&pingTable)
	statement := selectPings(columns) + s.k.to.keyspace + ".pings WHERE token(rider, day) >= ? AND token(rider, day) <= ? AND ts >= ? AND ts < ? ALLOW FILTERING"
	n := min(rangesPerNode*s.l.nodes, mostRanges)
	from, to := max(day, s.q.From), min(day+milliPerDay, s.q.To)
	s.rider1, s.turned, s.tooMany = "", s.turned[:0], false
	err := s.k.stream(ctx, s.l, n, columns, func(i int) inquiry {
		first, last := tokens(i, n)
		return inquiry{statement, []any{first, last, time.UnixMilli(from), time.UnixMilli(to)}}
	}, func(row []cqlValue) error {
		if string(row[pingRider]) != s.rider1 {
			if err := s.turn(ctx, day); err != nil {
				return err
			}
			s.rider1 = string(row[pingRider])
			if !s.several {
				clear(s.counts)
			}
		}
		nano, ok := s.set(row)
		switch {
		case !ok:
			return nil
		case !s.q.Newest:
			return s.pass(&s.e, nano)
		case len(s.turned) == turnedRows:
			s.tooMany, s.turned = true, s.turned[:0]
		case !s.tooMany:
			s.turned = append(s.turned, turnedEntry{s.e, nano})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.turn(ctx, day); err != nil {
		return &eachFault{err}
	}
	return nil
}

// turn passes on the rows of a partition that is over, newest first. More than are kept are
// asked for again.
func (s *selection) turn(ctx context.Context, day int64) error {
	if s.tooMany {
		s.tooMany = false
		err := s.rider(ctx, []int64{day}, s.rider1)
		if passed := new(eachFault); errors.As(err, &passed) {
			return passed.err
		}
		return err
	}
	for i := len(s.turned) - 1; i >= 0; i-- {
		if err := s.pass(&s.turned[i].e, s.turned[i].nano); err != nil {
			return err
		}
	}
	s.turned = s.turned[:0]
	return nil
}

// tokens returns the first and the last token of part i of n parts of all partitions.
func tokens(i, n int) (first, last int64) {
	width := math.MaxUint64/uint64(n) + 1
	first = int64(uint64(i)*width + 1<<63)
	if i == n-1 {
		return first, math.MaxInt64
	}
	return first, int64(uint64(i+1)*width + 1<<63 - 1)
}

// set sets s.e to a row, and returns false if it is not selected.
func (s *selection) set(row []cqlValue) (nano int64, ok bool) {
	e := &s.e
	if len(row[pingLat]) != 8 || len(row[pingLon]) != 8 { // of another writer
		return 0, false
	}
	at := int64(binary.BigEndian.Uint64(row[pingTS]))
	nano = int64(int32(binary.BigEndian.Uint32(row[pingNano])))
	if s.q.Device != "" && string(row[pingDevice]) != s.q.Device || at == s.q.From && nano < s.q.FromNano {
		return 0, false
	}
	*e = pingline.Entry{Verdict: pingline.Accepted, Ping: e.Ping}
	known := uint16(0)
	if b := row[pingKnown]; len(b) == 2 {
		known = binary.BigEndian.Uint16(b)
	}
	keep(&e.Rider, row[pingRider], true)
	keep(&e.Device, row[pingDevice], true)
	keep(&e.Event, row[pingEvent], known&knowsEvent != 0)
	keep(&e.Trip, row[pingTrip], known&knowsTrip != 0)
	e.Attrs = ""
	if known&knowsAttrs != 0 && len(row) > pingAttrs {
		e.Attrs, _ = pingline.ParseAttrs(row[pingAttrs]) // "" if another writer's text is none of attributes
	}
	e.Fix = pingline.Fix{At: at, Corrected: isTrue(row[pingCorrected])}
	e.Cell, e.Late, e.Apart = binary.BigEndian.Uint64(row[pingCell]), isTrue(row[pingLate]), nano != 0
	if b := row[pingSkipped]; len(b) == 4 {
		e.Skipped = binary.BigEndian.Uint32(b)
	}
	for i := range pingline.Numbers {
		if b := row[pingNumbers+i]; known&(1<<i) != 0 && len(b) == 4 {
			e.SetOptional(1<<i, float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
		}
	}
	err := e.SetPosition(math.Float64frombits(binary.BigEndian.Uint64(row[pingLat])), math.Float64frombits(binary.BigEndian.Uint64(row[pingLon])))
	return nano, err == nil
}

// keep sets s to b, or to "" if it is not known. Most texts stay the same from row to row.
func keep(s *string, b cqlValue, known bool) {
	if !known {
		b = nil
	}
	if *s != string(b) {
		*s = string(b)
	}
}

func isTrue(b cqlValue) bool { return len(b) == 1 && b[0] != 0 }

// pass calls each, as long as the series has less than the limit.
func (s *selection) pass(e *pingline.Entry, nano int64) error {
	if s.q.Limit > 0 {
		if s.counts == nil {
			s.counts = make(map[uint64]int)
		}
		key := s.series(e)
		if s.counts[key] == s.q.Limit {
			return nil
		}
		s.counts[key]++
	}
	return s.each(e, nano)
}

func (s *selection) series(e *pingline.Entry) uint64 {
	var b [10]byte
	binary.BigEndian.PutUint64(b[:], e.Cell)
	b[8], b[9] = flagByte(e.Late), flagByte(e.Corrected)
	s.hash.Reset()
	_, _ = s.hash.Write(b[:]) // never fails
	_, _ = s.hash.WriteString(e.Rider)
	_ = s.hash.WriteByte(0)
	_, _ = s.hash.WriteString(e.Device)
	return s.hash.Sum64()
}
