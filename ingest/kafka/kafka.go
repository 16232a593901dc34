// Package kafka takes pings from a topic of a Kafka, as a member of a group.
//
// Messages have the form of POST /v1/pings, or are a Ping of docs/pingline.proto, and pass all that
// its requests pass. The offset of a
// message is committed once its pings are durable, or once the message is among the refused
// messages on disk; so each is taken at least once, also across crashes and rebalances, and what
// comes twice is a duplicate. While pings cannot be taken, or riders are over their rates, the
// messages of a partition are tried again, and it is paused: none is dropped. Messages of a
// rider are taken in their order, but for a rider who is over the rate.
//
// The package trusts whoever may write to the topic to send for every rider.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/ingest/messages"
	"pingline/internal/kafkalink"
)

// Topic says where the messages are. The zero value is nowhere.
type Topic struct {
	URL          string // kafka://USER@HOST:PORT,HOST:PORT/TOPIC?group=NAME, or kafkas://…
	PasswordFile string // of USER, read for each connection
	CAFile       string // PEM, authorities that may sign the brokers' certificates; "" means the system's
}

// Options are the options that a URL may have, besides sasl.
var Options = []string{optionGroup, optionStart, kafkalink.OptionFormat}

const (
	optionGroup = "group" // by default pingline
	optionStart = "start" // where a new group begins: earliest, or latest

	defaultGroup = "pingline"
)

// Check returns the flag of the first setting that is wrong, and why it is. It reads no file,
// and quotes no secret.
func (s *Topic) Check() (flag string, err error) {
	if s.URL == "" {
		if s.PasswordFile != "" {
			return "kafka-in-password-file", errors.New("is of --kafka-in: give both")
		}
		if s.CAFile != "" {
			return "kafka-in-ca-file", errors.New("is of --kafka-in: give both")
		}
		return "", nil
	}
	link, err := s.parse()
	switch {
	case err != nil:
		return "kafka-in", err
	case link.User != "" && s.PasswordFile == "":
		return "kafka-in", errors.New("has a user: put the password into a file and name it in --kafka-in-password-file")
	case link.User == "" && s.PasswordFile != "":
		return "kafka-in-password-file", errors.New("takes a user: --kafka-in=kafka://USER@HOST/TOPIC")
	case s.CAFile != "" && !link.TLS:
		return "kafka-in-ca-file", errors.New("takes TLS: --kafka-in=kafkas://HOST/TOPIC")
	}
	return "", nil
}

func (s *Topic) parse() (*kafkalink.Brokers, error) {
	link, err := kafkalink.Parse(s.URL, Options...)
	if err != nil {
		return nil, err
	}
	if start, given := link.Options[optionStart]; given && start != "earliest" && start != "latest" {
		return nil, fmt.Errorf("start=%.32s is neither earliest nor latest", start)
	}
	if group, given := link.Options[optionGroup]; given && (group == "" || len(group) > kafkalink.MaxTopic) {
		return nil, fmt.Errorf("group=%.32s has %d bytes, not 1 to %d", group, len(group), kafkalink.MaxTopic)
	}
	if _, err := link.Protobuf(); err != nil {
		return nil, err
	}
	link.PasswordFile, link.CAFile = s.PasswordFile, s.CAFile
	return link, nil
}

// Config sets up a Member. All but Logger and CommitEvery are required.
type Config struct {
	Topic
	Take        messages.Post
	Rejects     *messages.Rejects
	CommitEvery time.Duration // at least 100 ms; 0 means a second
	Logger      *slog.Logger
}

// Bounds of messages that are read ahead of being taken, in bytes.
const (
	mostQueued    = 16 << 20  // of all partitions, before nothing more is fetched
	pauseAt       = 1 << 20   // of a partition, before it is paused
	resumeAt      = 256 << 10 // of a partition that is paused
	mostFetch     = 8 << 20   // of an answer of a broker
	mostPartition = 1 << 20   // of a partition in it, unless a single batch is larger
	mostPoll      = 5000      // messages
	mostBatched   = 64 << 20  // of a batch that is no longer compressed; a larger one stops its partition
)

// Times of the group.
const (
	session  = 15 * time.Second // after which a member that is silent is taken for dead
	askEvery = 5 * time.Second  // whether the cluster is there
	wait     = 10 * time.Second // for an answer
)

// Member takes messages from a topic. It is safe for concurrent use.
type Member struct {
	cfg   Config
	link  *kafkalink.Brokers
	group string
	start kgo.Offset
	proto bool        // a message without a type is Protobuf, else JSON
	cl    *kgo.Client // set by Run, before any worker

	queued atomic.Int64  // bytes of messages that wait to be taken
	room   chan struct{} // has an element when queued went below its limit
	count  outcomeCounter

	connected atomic.Bool
	unlinked  atomic.Pointer[string] // why the cluster is not reached, or nil
	ungrouped atomic.Pointer[string] // why messages do not come, or nil

	mu      sync.Mutex                // guards workers; that of a worker is taken behind it
	workers map[int32]*partitionTaker // by partition, of those that are assigned
}

// Open reads the settings. It does not connect before Run.
func Open(cfg Config) (*Member, error) {
	cfg.CommitEvery = cmp.Or(cfg.CommitEvery, time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	link, err := cfg.parse()
	if err != nil {
		return nil, fmt.Errorf("--kafka-in: %w", err)
	}
	c := &Member{cfg: cfg, link: link, room: make(chan struct{}, 1), workers: make(map[int32]*partitionTaker)}
	c.proto, _ = link.Protobuf() // parse has checked it
	c.group = cmp.Or(link.Options[optionGroup], defaultGroup)
	if c.start = kgo.NewOffset().AtStart(); link.Options[optionStart] == "latest" {
		c.start = kgo.NewOffset().AtEnd()
	}
	return c, nil
}

func (c *Member) options() []kgo.Opt {
	return append(c.link.Client(),
		kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(c.link.Topic), kgo.ConsumeStartOffset(c.start), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(session), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(mostFetch), kgo.FetchMaxPartitionBytes(mostPartition), kgo.MaxDecompressBatchBytes(mostBatched),
		// An assignment changes only between a poll and the next, so that no message is
		// given to a worker that began behind it.
		kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(c.cfg.CommitEvery),
		kgo.OnPartitionsAssigned(c.assigned), kgo.OnPartitionsRevoked(c.revoked), kgo.OnPartitionsLost(c.lost),
	)
}

// Run takes messages until ctx is cancelled, then finishes those that are being taken, commits
// and leaves the group, and returns nil. It connects again and again if need be.
func (c *Member) Run(ctx context.Context) (err error) {
	if c.cl, err = kgo.NewClient(c.options()...); err != nil {
		return fmt.Errorf("--kafka-in: %w", err)
	}
	var asking sync.WaitGroup
	asking.Go(func() { c.ask(ctx) })
	var failed time.Time // when messages could not be fetched last
	for c.makeRoom(ctx) {
		fetches := c.cl.PollRecords(ctx, mostPoll)
		fetches.EachError(func(_ string, partition int32, err error) {
			if ctx.Err() == nil {
				failed = time.Now()
				c.fails(c.noteOf(partition, err), err)
			}
		})
		if fetches.NumRecords() > 0 && time.Since(failed) > askEvery {
			c.ungrouped.Store(nil)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { c.add(&p) })
		c.cl.AllowRebalance()
	}
	asking.Wait()
	c.connected.Store(false)
	c.stop(nil)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	if err := c.cl.CommitMarkedOffsets(ending); err != nil {
		c.cfg.Logger.Warn("offsets of --kafka-in are not committed: messages come again", "error", err)
	}
	_ = c.cl.LeaveGroupContext(ending) // else the group waits for the end of the session
	c.cl.CloseAllowingRebalance()
	return nil
}

// noteOf returns the place of the note about an error. A batch that is too large stops its partition
// for as long as this member has it; other errors end by themselves.
func (c *Member) noteOf(partition int32, err error) *atomic.Pointer[string] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workers[partition]; w != nil && errors.Is(err, kgo.ErrMaxDecompress) {
		return &w.halted
	}
	return &c.ungrouped
}

// makeRoom waits until messages may be fetched, and returns false once ctx is cancelled.
func (c *Member) makeRoom(ctx context.Context) bool {
	for c.queued.Load() >= mostQueued && ctx.Err() == nil {
		select {
		case <-c.room:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// release gives back room of messages.
func (c *Member) release(n int64) {
	if after := c.queued.Add(-n); after < mostQueued && after+n >= mostQueued {
		select {
		case c.room <- struct{}{}:
		default:
		}
	}
}

// add hands fetched messages to the worker of their partition.
func (c *Member) add(p *kgo.FetchTopicPartition) {
	c.mu.Lock()
	w := c.workers[p.Partition]
	c.mu.Unlock()
	if w == nil || len(p.Records) == 0 {
		return
	}
	c.connected.Store(true)
	w.add(p.Records, p.HighWatermark)
}

func (c *Member) assigned(_ context.Context, cl *kgo.Client, by map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range by[c.link.Topic] {
		w := newTaker(c, cl, p)
		c.workers[p] = w
		go w.run()
	}
	c.ungrouped.Store(nil)
	c.connected.Store(true)
	c.cfg.Logger.Info("partitions of --kafka-in are assigned", "topic", c.link.Topic, "partitions", by[c.link.Topic], "of", len(c.workers))
}

// revoked finishes messages that are being taken of some partitions, and commits them.
func (c *Member) revoked(ctx context.Context, cl *kgo.Client, by map[string][]int32) {
	c.lost(ctx, cl, by)
	if err := cl.CommitMarkedOffsets(ctx); err != nil && ctx.Err() == nil {
		c.cfg.Logger.Warn("offsets of --kafka-in are not committed: messages come again", "error", err)
	}
}

func (c *Member) lost(_ context.Context, cl *kgo.Client, by map[string][]int32) {
	if list := by[c.link.Topic]; len(list) > 0 {
		c.stop(list)
		cl.ResumeFetchPartitions(map[string][]int32{c.link.Topic: list})
	}
}

// stop ends the workers of some partitions, nil: of all.
func (c *Member) stop(partitions []int32) {
	c.mu.Lock()
	var list []*partitionTaker
	for p, w := range c.workers {
		if partitions == nil || slices.Contains(partitions, p) {
			list = append(list, w)
			delete(c.workers, p)
		}
	}
	c.mu.Unlock()
	for _, w := range list {
		close(w.stopped)
	}
	for _, w := range list {
		<-w.ended
	}
}

// ask asks again and again whether the cluster is there and has the topic.
func (c *Member) ask(ctx context.Context) {
	adm := kadm.NewClient(c.cl)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, wait)
		found, err := adm.ListTopics(asking, c.link.Topic)
		if err == nil {
			err = found.Error()
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("no answer within %v", wait)
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			err = errors.New("it is not there; " + adviceTopic)
		}
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.connected.Store(false)
			c.fails(&c.unlinked, err)
		default:
			c.unlinked.Store(nil)
			c.connected.Store(true)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// fails notes a trouble, and logs it if it is new.
func (c *Member) fails(at *atomic.Pointer[string], err error) {
	why := strings.ReplaceAll(err.Error(), "\n", " ")
	if was := at.Swap(&why); was == nil || *was != why {
		c.cfg.Logger.Warn("messages of --kafka-in are not taken for now; it is tried again", "topic", c.link.Topic, "reason", why)
	}
}

// Notes returns a sentence for each trouble.
func (c *Member) Notes() (notes []string) {
	if c == nil {
		return nil
	}
	list := []*atomic.Pointer[string]{&c.unlinked, &c.ungrouped}
	c.mu.Lock()
	for _, p := range slices.Sorted(maps.Keys(c.workers)) {
		list = append(list, &c.workers[p].halted, &c.workers[p].unkept)
	}
	c.mu.Unlock()
	for _, at := range list {
		if why := at.Load(); why != nil {
			// Many partitions may wait for the same file.
			if note := fmt.Sprintf("--kafka-in: topic %s: %s", c.link.Topic, *why); !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
	}
	return notes
}
