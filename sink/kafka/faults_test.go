package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pingline"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/sink/kafka"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// refuseBatches has brokers refuse all batches that have a text in them, which is not compressed.
func refuseBatches(c *kfake.Cluster, text string) {
	refuseRecords(c, kerr.InvalidRecord, func(records []byte) bool { return bytes.Contains(records, []byte(text)) })
}

// refuseRecords has brokers refuse requests with batches that are bad.
func refuseRecords(c *kfake.Cluster, why *kerr.Error, bad func(records []byte) bool) {
	c.ControlKey(kmsg.Produce.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		p := req.(*kmsg.ProduceRequest)
		resp := p.ResponseKind().(*kmsg.ProduceResponse)
		has := false
		for _, topic := range p.Topics {
			out := kmsg.NewProduceResponseTopic()
			out.Topic, out.TopicID = topic.Topic, topic.TopicID
			for _, one := range topic.Partitions {
				has = bad(one.Records) || has
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = one.Partition, why.Code
				out.Partitions = append(out.Partitions, part)
			}
			resp.Topics = append(resp.Topics, out)
		}
		if has {
			return resp, nil, true
		}
		return nil, nil, false
	})
}

// bisected writes rows, and the halves of those that are refused, until all are written or
// refused: it returns how many are refused, as the sink would find them.
func bisected(t *testing.T, r *rig, list []pingline.Entry) (refused int) {
	t.Helper()
	err := r.Write(t.Context(), rowsOf(r.Topics, list))
	why := new(store.Refusal)
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &why) || why.Kind != store.BadRows:
		t.Fatal(err)
	case len(list) == 1 || why.All:
		return len(list)
	}
	return bisected(t, r, list[:len(list)/2]) + bisected(t, r, list[len(list)/2:])
}

// A broker refuses a batch for a message of it: the others are stored, and each once.
func TestOneOfABatchIsRefused(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true, URL: "?partitions=1&compression=none"})
	list := storetest.Fleet(5, 20)
	r.write(t, list[:1]...)
	list[13].Trip = "poison"
	refuseBatches(r.c, "poison")
	if n := bisected(t, r, list[1:]); n != 1 {
		t.Errorf("%d rows are refused, want 1", n)
	}
	all := r.read(t, "pings")
	if len(all) != 19 || len(kafkatest.IDs(all)) != 19 {
		t.Errorf("%d messages, %d ids, want 19", len(all), len(kafkatest.IDs(all)))
	}
}

// A write is over once it is acknowledged, of one message or of many batches: none of them waits for
// messages that a later write may bring.
func TestNoMessageLingers(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true, URL: "?partitions=2&compression=none"})
	r.SetLinger(time.Minute) // the longest that the library takes
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for i, n := range []int{1, 20_000, 1, 1, 1} {
		if err := r.Write(ctx, rowsOf(r.Topics, storetest.Fleet(uint64(i), n))); err != nil {
			t.Fatal(err)
		}
	}
}

// Writes use memory of earlier writes again: no message has bytes of a different message.
func TestMemoryIsUsedAgain(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	r.write(t, storetest.Fleet(1000, 1)...)
	want := 1
	var lanes sync.WaitGroup
	for lane := range 3 {
		var writes [][]pingline.Entry
		for i, n := range []int{2000, 1, 500, 3000, 20, 1000, 2000, 700} {
			writes = append(writes, storetest.Fleet(uint64(10*lane+i), n))
			want += n
		}
		lanes.Go(func() {
			for _, list := range writes {
				if err := r.Write(t.Context(), rowsOf(r.Topics, list)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	lanes.Wait()
	all := r.read(t, "pings", "pings.event")
	if n := len(kafkatest.IDs(all)); n != want || len(all) != want {
		t.Errorf("%d messages, %d ids, want %d", len(all), n, want)
	}
	for _, m := range all {
		var ping struct {
			Rider string `json:"rider_id"`
		}
		if err := json.Unmarshal(m.Value, &ping); err != nil || ping.Rider != string(m.Key) {
			t.Fatalf("key %s, value %s, %v", m.Key, m.Value, err)
		}
	}
}

// Two lanes may write the same rows at once: both writes end.
func TestSameRowsAtOnce(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	r.write(t, storetest.Fleet(9, 1)...)
	list := storetest.Fleet(3, 100)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		release := hold(r.c, kmsg.Produce)
		var writes sync.WaitGroup
		for range 4 {
			writes.Go(func() {
				if err := r.Write(ctx, rowsOf(r.Topics, list)); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(10 * time.Millisecond) // for the writes to meet; if they do not, the test passes
		release()
		writes.Wait()
	}
	r.write(t, list...)
	if n := len(kafkatest.IDs(r.read(t, "pings"))); n != len(list)+1 {
		t.Errorf("%d ids, want %d", n, len(list)+1)
	}
}

// Writes that were given up, and that nobody asks for again, leave room once they have ended.
func TestGivenUpForGood(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	r.write(t, storetest.Fleet(9, 1)...)
	release := hold(r.c, kmsg.Produce)
	defer release()
	first, second := storetest.Fleet(3, 100), storetest.Fleet(4, 100)
	r.SetMost(len(rowsOf(r.Topics, first).Bytes) * 3 / 2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Write(ctx, rowsOf(r.Topics, first)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	full := new(store.Refusal)
	if err := r.Write(t.Context(), rowsOf(r.Topics, second)); !errors.As(err, &full) || full.Kind != store.Retry || !full.Busy {
		t.Errorf("while all room is taken: %v, want that it is busy", err)
	}
	release()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := r.Write(t.Context(), rowsOf(r.Topics, second))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A clock that is wrong is no fault of rows: all wait, and are sent with the time of then.
func TestClockOfMessages(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	r.write(t, storetest.Fleet(9, 1)...)
	var wrong atomic.Bool
	wrong.Store(true)
	refuseRecords(r.c, kerr.InvalidTimestamp, func([]byte) bool { return wrong.Load() })
	list := storetest.Fleet(3, 100)
	refused(t, r.Write(t.Context(), rowsOf(r.Topics, list)), store.Configure, store.Limit)
	wrong.Store(false)
	time.Sleep(2 * time.Millisecond) // a timestamp is in ms
	set := time.Now().Truncate(time.Millisecond)
	r.write(t, list...)
	all := r.read(t, "pings")
	for _, m := range all {
		if m.Timestamp.Before(set) && string(m.Key)[:8] == "rider-3-" {
			t.Fatalf("a message is of %v, and was sent after %v", m.Timestamp, set)
		}
	}
	if n := len(kafkatest.IDs(all)); n != len(list)+1 || len(all) != n {
		t.Errorf("%d messages, %d ids, want %d", len(all), n, len(list)+1)
	}
}
