package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/internal/kafkalink"
	"pingline/queue/driver"
	"pingline/queue/record"
)

// LogSession is a session with a log on Kafka. It implements driver.Stream.
type LogSession struct {
	cfg    Config
	link   *kafkalink.Brokers
	topics topics
	append *kgo.Client // of the log's topic
	beside *kgo.Client // of the topic with the owner's record
	log    *partition
	closed atomic.Bool
	life   context.Context // until Close
	end    context.CancelFunc
	guard  sync.WaitGroup // of the topics' settings

	limits  topicLimits // of the log's topic, set by Ready
	judging sync.Mutex  // held while messages are read and judged; taken before mu
	mu      sync.Mutex  // guards the fields below; taken after judging, and before partition.mu
	known   history
	behind  bool // known is not that of the log: it is read anew
	anchors anchors
	files   *kgo.Client // nil until Files

	changed   string // which settings somebody has changed, "" if none
	changedAt time.Time
}

var _ driver.Stream = (*LogSession)(nil)

// recordOverhead is how many bytes a record counts beside its data.
const recordOverhead = 96

// Connect connects to the brokers and changes nothing there.
func Connect(cfg Config) (*LogSession, error) {
	link, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	s := &LogSession{cfg: cfg, link: link, topics: topicsOf(cfg.Stream), behind: true}
	s.life, s.end = context.WithCancel(context.Background())
	if s.append, err = dial(link); err != nil {
		s.end()
		return nil, err
	}
	if s.beside, err = dial(link); err != nil {
		s.append.Close()
		s.end()
		return nil, err
	}
	return s, nil
}

// Ready implements driver.Stream.
func (s *LogSession) Ready(ctx context.Context) (err error) {
	if s.limits, err = s.adopt(ctx, s.append, s.topics.log, 1); err != nil {
		return fmt.Errorf("topic %s of the log: %w", s.topics.log, err)
	}
	if _, err = s.adopt(ctx, s.beside, s.topics.state, 2); err != nil {
		return fmt.Errorf("topic %s of the log: %w", s.topics.state, err)
	}
	s.log = newPartition(s.append, s.topics.log, 0)
	s.anchors.at = newPartition(s.beside, s.topics.state, 1)
	if err = s.catchUp(ctx, 0, nil); err == nil {
		s.guard.Go(s.guardSettings)
	}
	return err
}

// Register implements driver.Stream.
func (s *LogSession) Register(ctx context.Context) (driver.Register, error) {
	if _, err := s.adopt(ctx, s.beside, s.topics.state, 2); err != nil {
		return nil, fmt.Errorf("topic %s of the log's owner: %w", s.topics.state, err)
	}
	return &register{at: newPartition(s.beside, s.topics.state, 0), tidy: tidySaves}, nil
}

// Files implements driver.Stream.
func (s *LogSession) Files(ctx context.Context) (driver.FileStore, error) {
	cl, err := dial(s.link) // its own: a file must not keep an append or a renewal waiting
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.files = cl
	s.mu.Unlock()
	if _, err := s.adopt(ctx, cl, s.topics.filter, 2); err != nil {
		return nil, fmt.Errorf("topic %s of the log: %w", s.topics.filter, err)
	}
	return &files{pieces: newPartition(cl, s.topics.filter, 0), catalog: newPartition(cl, s.topics.filter, 1)}, nil
}

// MaxData implements driver.Stream.
func (s *LogSession) MaxData() int { return s.limits.message - batchOverhead - keyBytes }

// Size implements driver.Stream.
func (s *LogSession) Size(n int, _ uint64) int64 { return int64(n) + recordOverhead }

// MaxPad implements driver.Stream: segments are closed by time, too.
func (s *LogSession) MaxPad(int) int { return 0 }

// PadSize implements driver.Stream.
func (s *LogSession) PadSize(int) int64 { return 0 }

// Directory implements driver.Stream.
func (s *LogSession) Directory() string { return "" }

// Warning implements driver.Stream.
func (s *LogSession) Warning() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != "" && time.Since(s.changedAt) < settingsTold {
		return s.changed
	}
	return s.limits.warning
}

// Close implements driver.Stream. It leaves an anchor, if there is something new to judge.
func (s *LogSession) Close() {
	if s.closed.Swap(true) {
		return
	}
	s.end()
	s.guard.Wait()
	s.mu.Lock()
	files := s.files
	last := s.known
	s.mu.Unlock()
	if s.log != nil && !last.empty() {
		ctx, cancel := context.WithTimeout(context.Background(), driver.AskAgain)
		s.anchors.close(ctx, &last)
		cancel()
	}
	for _, cl := range []*kgo.Client{s.append, s.beside, files} {
		if cl != nil {
			cl.Close()
		}
	}
}

// Closed implements driver.Stream.
func (s *LogSession) Closed() bool { return s.closed.Load() }

// keyBytes is the length of a record's key: the bytes of all records ever, with this record.
const keyBytes = 8

// Put implements driver.Stream.
func (s *LogSession) Put(ctx context.Context, limit time.Duration, b []byte, _ int, after uint64) error {
	rec, err := record.Decode(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	last, total, stale := s.known.Last, s.known.Bytes+s.Size(len(b), after), s.behind
	s.mu.Unlock()
	if last != after || stale {
		return fmt.Errorf("%w: it ends at %d, not %d", driver.ErrGoneOn, last, after)
	}
	at, err := s.log.produce(ctx, limit, binary.LittleEndian.AppendUint64(nil, uint64(total)), b)
	if err != nil {
		return fmt.Errorf("no answer that the record is stored: %w", err)
	}
	s.mu.Lock()
	if s.known.Next == at && !s.behind { // right behind all that is judged
		valid := s.known.take(at, rec.Epoch, rec.Number, total)
		s.anchors.note(&s.known)
		s.mu.Unlock()
		if !valid {
			return fmt.Errorf("%w: the log has reached epoch %d", driver.ErrGoneOn, s.epoch())
		}
		return nil
	}
	s.mu.Unlock()
	return s.lookBack(ctx, at, b, after)
}

func (s *LogSession) epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.Epoch
}

// lookBack finds out whether a record with the data b, which was appended at an offset, is valid,
// there or where an earlier copy has landed. Others have appended before it.
func (s *LogSession) lookBack(ctx context.Context, at int64, b []byte, after uint64) error {
	var mine []uint64 // sequences at which b is
	err := s.catchUp(ctx, at+1, func(seq uint64, data []byte) {
		if bytes.Equal(data, b) {
			mine = append(mine, seq)
		}
	})
	if err != nil {
		return fmt.Errorf("it is not known whether the record counts: %w", err)
	}
	s.mu.Lock()
	seq, valid := s.known.at(at)
	next := s.known.Next
	s.mu.Unlock()
	switch {
	case valid && seq == after+1, len(mine) > 0 && mine[0] == after+1:
		return nil
	case valid || len(mine) > 0:
		return fmt.Errorf("the record is at sequence %d, not %d", seq, after+1)
	case at < next-1 && len(mine) == 0 && s.lostTail(ctx, next):
		return errors.New("the log has lost its end: it is read anew")
	}
	return fmt.Errorf("%w: others have appended, or a claim has landed", driver.ErrGoneOn)
}

// lostTail reports whether the log ends before an offset that was judged, and has it read anew.
func (s *LogSession) lostTail(ctx context.Context, next int64) bool {
	end, err := s.log.find(ctx, atEnd)
	if err != nil || end >= next {
		return false
	}
	s.mu.Lock()
	s.behind = true
	s.mu.Unlock()
	return true
}

// Next implements driver.Stream.
func (s *LogSession) Next(ctx context.Context, from uint64) (seq uint64, data []byte, err error) {
	err = s.each(ctx, from, 1, func(at uint64, b []byte) bool {
		seq, data = at, b
		return false
	})
	if err != nil {
		return 0, nil, fmt.Errorf("get the record at %d: %w", from, err)
	}
	return seq, data, nil
}

// Last implements driver.Stream.
func (s *LogSession) Last(ctx context.Context) (seq uint64, data []byte, err error) {
	if err := s.catchUp(ctx, 0, nil); err != nil {
		return 0, nil, fmt.Errorf("get the last record: %w", err)
	}
	s.mu.Lock()
	last := s.known.Last
	s.mu.Unlock()
	return s.Next(ctx, last)
}

// Fetch implements driver.Stream.
func (s *LogSession) Fetch(ctx context.Context, seq uint64, limit int) (list [][]byte, err error) {
	n := 0
	err = s.each(ctx, seq, limit, func(_ uint64, b []byte) bool {
		list = append(list, bytes.Clone(b)) // b holds all that came with it
		n += len(b)
		return n < limit/2 // the rest of an answer is as good as an answer
	})
	if err != nil {
		return nil, fmt.Errorf("get records from %d: %w", seq, err)
	}
	return list, nil
}

// each calls with for the valid records from a sequence on, until it returns false or the end of
// all that is judged. It asks for limit bytes at a time.
func (s *LogSession) each(ctx context.Context, seq uint64, limit int, with func(seq uint64, data []byte) bool) error {
	moved := false
	for {
		s.mu.Lock()
		seq = max(seq, s.known.First)
		if s.known.Last < seq {
			s.mu.Unlock()
			return nil
		}
		at := s.known.offset(seq)
		s.mu.Unlock()
		got, err := s.log.fetch(ctx, at, limit)
		if errors.Is(err, errOutside) && !moved {
			moved = true // another has trimmed the log
			if err = s.start(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if got.next <= at {
			return fmt.Errorf("topic %s ends at offset %d, before the record at %d", s.topics.log, got.end, at)
		}
		for _, m := range got.list {
			s.mu.Lock()
			found, valid := s.known.at(m.Offset)
			s.mu.Unlock()
			if valid && !with(found, m.Value) {
				return nil
			}
		}
		s.mu.Lock()
		seq = max(seq+1, s.known.from(got.next))
		s.mu.Unlock()
	}
}

// Bounds implements driver.Stream.
func (s *LogSession) Bounds(ctx context.Context) (*driver.Bounds, error) {
	if err := s.catchUp(ctx, 0, nil); err != nil {
		return nil, fmt.Errorf("state of the log: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.known
	return &driver.Bounds{FirstSeq: h.First, LastSeq: h.Last, Bytes: h.Bytes - h.Before, Epoch: h.Epoch}, nil
}

// Purge implements driver.Stream.
func (s *LogSession) Purge(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	first, last := s.known.First, s.known.Last
	s.mu.Unlock()
	if seq <= first {
		return nil
	}
	if seq = min(seq, last); seq < first {
		return nil
	}
	if err := s.trimTo(ctx, seq); err != nil {
		return fmt.Errorf("purge the log before %d: %w", seq, err)
	}
	return nil
}

func (s *LogSession) trimTo(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	at := s.known.offset(seq)
	s.mu.Unlock()
	before, err := s.bytesBefore(ctx, at)
	if err != nil {
		return err
	}
	if err := s.log.trim(ctx, at); err != nil && !errors.Is(err, errOutside) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > s.known.First && seq <= s.known.Last {
		s.known.trim(seq, before)
		s.anchors.save(&s.known)
	}
	return nil
}

// bytesBefore returns the bytes of all records ever before the valid record at an offset.
func (s *LogSession) bytesBefore(ctx context.Context, at int64) (int64, error) {
	got, err := s.log.fetch(ctx, at, 1)
	if err != nil {
		return 0, err
	}
	if len(got.list) == 0 || got.list[0].Offset != at {
		return 0, fmt.Errorf("topic %s has nothing at offset %d", s.topics.log, at)
	}
	return totalOf(got.list[0]) - s.Size(len(got.list[0].Value), 0), nil
}

// totalOf returns the bytes of all records ever, by the key of a record.
func totalOf(m *kgo.Record) int64 {
	if len(m.Key) != keyBytes {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(m.Key))
}

// fetchBytes is how much is read at a time to be judged.
const fetchBytes = 4 << 20

// catchUp judges all messages there are, and at least up to an offset. It calls with, if that is
// not nil, for the valid ones.
func (s *LogSession) catchUp(ctx context.Context, to int64, with func(seq uint64, data []byte)) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s.judging.Lock()
	defer s.judging.Unlock()
	if err := s.begin(ctx); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		next := s.known.Next
		s.mu.Unlock()
		got, err := s.log.fetch(ctx, next, fetchBytes)
		if errors.Is(err, errOutside) {
			s.mu.Lock()
			s.behind = true // the log has lost its end, or all that was judged is trimmed
			s.mu.Unlock()
		}
		if err != nil {
			return err
		}
		if err := s.judge(&got, with); err != nil {
			return err
		}
		if got.next >= max(to, got.end) {
			return nil
		}
		if got.next > next {
			continue
		}
		select { // a new leader is told late what most replicas have
		case <-time.After(again):
		case <-ctx.Done():
			return fmt.Errorf("topic %s ends at offset %d, before %d", s.topics.log, got.end, to)
		}
	}
}

// openTimeout bounds how long a log is read to be judged.
const openTimeout = 10 * time.Minute

// judge takes messages behind all that is judged.
func (s *LogSession) judge(got *fetched, with func(seq uint64, data []byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range got.list {
		if m.Offset < s.known.Next { // a Put has judged its own
			continue
		}
		rec, err := record.Decode(m.Value)
		if errors.Is(err, record.ErrNewer) {
			return fmt.Errorf("message at offset %d of topic %s: %w", m.Offset, s.topics.log, err)
		}
		if err != nil { // nobody's record
			s.known.pass(m.Offset)
			continue
		}
		if s.known.take(m.Offset, rec.Epoch, rec.Number, totalOf(m)) && with != nil {
			with(s.known.Last, m.Value)
		}
		s.anchors.note(&s.known)
	}
	s.known.Next = max(s.known.Next, got.next)
	return nil
}

// begin has known be a judgement of the log: from an anchor, or from the log's first record. The
// caller holds judging.
func (s *LogSession) begin(ctx context.Context) error {
	s.mu.Lock()
	done := !s.behind
	s.mu.Unlock()
	if done {
		return nil
	}
	start, err := s.log.find(ctx, atStart)
	if err != nil {
		return err
	}
	h, err := s.anchors.load(ctx, s.log, start)
	if err != nil {
		return err
	}
	if h == nil {
		if h, err = s.origin(ctx, start); err != nil {
			return err
		}
	}
	if !h.empty() {
		if seq := h.from(start); seq > h.First {
			before, err := s.bytesBefore(ctx, start)
			if err != nil {
				return err
			}
			h.trim(seq, before)
		}
	}
	s.mu.Lock()
	s.known, s.behind = *h, false
	s.mu.Unlock()
	return nil
}

// origin is a judgement of nothing. Sequences begin with the number of the first record there is.
func (s *LogSession) origin(ctx context.Context, start int64) (*history, error) {
	h := newHistory(start, 0)
	got, err := s.log.fetch(ctx, start, 1)
	if err != nil {
		return nil, err
	}
	for _, m := range got.list {
		if rec, err := record.Decode(m.Value); err == nil {
			h = newHistory(start, rec.Number-1)
			h.Before = totalOf(m) - s.Size(len(m.Value), 0)
			h.Bytes = h.Before
			break
		}
	}
	return &h, nil
}

// start takes note that the log was trimmed by another.
func (s *LogSession) start(ctx context.Context) error {
	start, err := s.log.find(ctx, atStart)
	if err != nil {
		return err
	}
	s.mu.Lock()
	seq, first, last := s.known.from(start), s.known.First, s.known.Last
	s.mu.Unlock()
	if seq <= first || seq > last {
		return fmt.Errorf("topic %s begins at offset %d: %w", s.topics.log, start, errOutside)
	}
	return s.trimTo(ctx, seq)
}
