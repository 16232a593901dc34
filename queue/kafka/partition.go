package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pingline/queue/driver"
)

// partition is a partition of a topic, asked by the broker that leads it. It is safe for
// concurrent use.
type partition struct {
	cl     *kgo.Client
	topic  string
	number int32

	mu     sync.Mutex // guards the fields below; nothing else is locked under it
	known  bool       // id is that of the topic
	id     [16]byte
	leader int32 // -1 if it is not known
}

func newPartition(cl *kgo.Client, topic string, number int32) *partition {
	return &partition{cl: cl, topic: topic, number: number, leader: -1}
}

var (
	errReplaced = errors.New("was deleted and made anew since it was opened: all that was in it is lost")
	errLeader   = errors.New("has no leader now")
	errUnfit    = errors.New("the topic is not ours")
	errNothing  = errors.New("the answer has nothing in it")
	errOutside  = kerr.OffsetOutOfRange // of fetch: the partition does not reach to that offset
)

// lead returns the leader.
func (p *partition) lead(ctx context.Context) (*kgo.Broker, error) {
	p.mu.Lock()
	leader := p.leader
	p.mu.Unlock()
	if leader >= 0 {
		return p.cl.Broker(int(leader)), nil
	}
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(p.topic)
	req.Topics = append(req.Topics, topic)
	said, err := p.cl.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, t := range said.(*kmsg.MetadataResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", p.topic, err)
		}
		for _, found := range t.Partitions {
			if found.Partition != p.number {
				continue
			}
			if err := p.found(t.TopicID, found.Leader); err != nil {
				return nil, err
			}
			if found.Leader >= 0 {
				return p.cl.Broker(int(found.Leader)), nil
			}
		}
	}
	return nil, fmt.Errorf("partition %d of topic %s %w", p.number, p.topic, errLeader)
}

func (p *partition) found(id [16]byte, leader int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known && p.id != id {
		return fmt.Errorf("topic %s %w", p.topic, errReplaced)
	}
	p.known, p.id, p.leader = true, id, leader
	return nil
}

func (p *partition) forget() {
	p.mu.Lock()
	p.leader = -1
	p.mu.Unlock()
}

func (p *partition) topicID() [16]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

// again is how long to wait between two tries.
const again = 50 * time.Millisecond

// final reports whether a later try must fail, too.
func final(err error) bool {
	if errors.Is(err, errReplaced) || errors.Is(err, errUnfit) || errors.Is(err, kgo.ErrClientClosed) {
		return true
	}
	said := new(kerr.Error)
	if !errors.As(err, &said) {
		return false
	}
	return !said.Retriable && said.Code != kerr.UnknownTopicOrPartition.Code
}

// ask calls request until it succeeds, within driver.RequestTimeout, each time with a context for
// driver.AskAgain and the leader of that moment.
func (p *partition) ask(ctx context.Context, request func(context.Context, *kgo.Broker) error) error {
	ctx, cancel := context.WithTimeout(ctx, driver.RequestTimeout)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, driver.AskAgain)
		to, err := p.lead(once)
		if err == nil {
			err = request(once, to)
		}
		done()
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		p.forget()
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return err
		}
	}
}

// produce appends a message once all replicas in sync have it, within limit, and returns its
// offset. It may land twice. An error leaves open whether it lands.
func (p *partition) produce(ctx context.Context, limit time.Duration, key, value []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	records := batchOf(key, value)
	for {
		offset, err := p.send(ctx, limit, records)
		if err == nil || final(err) || ctx.Err() != nil {
			return offset, err
		}
		p.forget()
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return 0, err
		}
	}
}

func (p *partition) send(ctx context.Context, limit time.Duration, records []byte) (int64, error) {
	to, err := p.lead(ctx)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(min(limit.Milliseconds(), math.MaxInt32))
	topic, part := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	topic.Topic, topic.TopicID = p.topic, p.topicID()
	part.Partition, part.Records = p.number, records
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	said, err := to.Request(ctx, req)
	if err != nil {
		return 0, err
	}
	for _, t := range said.(*kmsg.ProduceResponse).Topics {
		for _, a := range t.Partitions {
			return a.BaseOffset, kerr.ErrorForCode(a.ErrorCode)
		}
	}
	return 0, errNothing
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchOverhead bounds the bytes of a batch of one message beside its key and value.
const batchOverhead = 61 + 5*binary.MaxVarintLen32

// batchOf is a batch with one message, as Kafka stores it: magic 2, not compressed, of no
// producer that Kafka keeps account of.
func batchOf(key, value []byte) []byte {
	body := make([]byte, 0, batchOverhead+len(key)+len(value))
	body = append(body, 0, 0, 0) // attributes; time and offset, relative to those of the batch
	body = append(binary.AppendVarint(body, int64(len(key))), key...)
	body = append(binary.AppendVarint(body, int64(len(value))), value...)
	body = append(body, 0) // headers
	size := binary.AppendVarint(nil, int64(len(body)))

	const head = 61
	b := make([]byte, head, head+len(size)+len(body))
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(b[8:], uint32(head-12+len(size)+len(body)))
	binary.BigEndian.PutUint32(b[12:], math.MaxUint32) // the leader's epoch: not known
	b[16] = 2
	binary.BigEndian.PutUint64(b[27:], now)
	binary.BigEndian.PutUint64(b[35:], now)
	binary.BigEndian.PutUint64(b[43:], math.MaxUint64) // no producer
	binary.BigEndian.PutUint16(b[51:], math.MaxUint16)
	binary.BigEndian.PutUint32(b[53:], math.MaxUint32)
	binary.BigEndian.PutUint32(b[57:], 1)
	b = append(append(b, size...), body...)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// fetched are messages from an offset on.
type fetched struct {
	list []*kgo.Record
	next int64 // offset behind them
	end  int64 // offset behind the last message that most replicas have
}

// fetch returns the messages from an offset on, about limit bytes of them, and at least one if
// there is one. An error wraps errOutside if the partition does not reach to that offset.
func (p *partition) fetch(ctx context.Context, from int64, limit int) (f fetched, err error) {
	err = p.ask(ctx, func(ctx context.Context, to *kgo.Broker) error {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionEpoch = int32(limit), -1
		topic, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		topic.Topic, topic.TopicID = p.topic, p.topicID()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.number, from, int32(limit)
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		said, err := to.Request(ctx, req)
		if err != nil {
			return err
		}
		resp := said.(*kmsg.FetchResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		for i := range resp.Topics {
			for k := range resp.Topics[i].Partitions {
				got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, Topic: p.topic, Partition: p.number},
					&resp.Topics[i].Partitions[k], decompressor, nil)
				f = fetched{got.Records, max(next, from), got.HighWatermark}
				return got.Err
			}
		}
		return errNothing
	})
	if err != nil {
		return f, fmt.Errorf("read topic %s from offset %d: %w", p.topic, from, err)
	}
	return f, nil
}

var decompressor = kgo.DefaultDecompressor()

// Times by which Kafka is asked for an offset.
const (
	atStart = -2
	atEnd   = -1
)

// find returns the offset of the first message, or the offset behind the last.
func (p *partition) find(ctx context.Context, when int64) (offset int64, err error) {
	err = p.ask(ctx, func(ctx context.Context, to *kgo.Broker) error {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		topic, part := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		topic.Topic, part.Partition, part.Timestamp = p.topic, p.number, when
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		said, err := to.Request(ctx, req)
		if err != nil {
			return err
		}
		for _, t := range said.(*kmsg.ListOffsetsResponse).Topics {
			for _, a := range t.Partitions {
				offset = a.Offset
				return kerr.ErrorForCode(a.ErrorCode)
			}
		}
		return errNothing
	})
	if err != nil {
		return 0, fmt.Errorf("bounds of topic %s: %w", p.topic, err)
	}
	return offset, nil
}

// trim deletes the messages before an offset.
func (p *partition) trim(ctx context.Context, before int64) error {
	err := p.ask(ctx, func(ctx context.Context, to *kgo.Broker) error {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = int32(driver.AskAgain.Milliseconds())
		topic, part := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
		topic.Topic, part.Partition, part.Offset = p.topic, p.number, before
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		said, err := to.Request(ctx, req)
		if err != nil {
			return err
		}
		for _, t := range said.(*kmsg.DeleteRecordsResponse).Topics {
			for _, a := range t.Partitions {
				return kerr.ErrorForCode(a.ErrorCode)
			}
		}
		return errNothing
	})
	if err != nil {
		return fmt.Errorf("trim topic %s before offset %d: %w", p.topic, before, err)
	}
	return nil
}
