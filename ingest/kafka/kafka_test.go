package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pingline"
	"pingline/ingest/kafka"
	"pingline/ingest/messages"
	"pingline/ingest/mqtt"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/internal/pingproto"
)

// patience is how long anything may take on a busy machine.
const patience = 5 * time.Minute

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// server takes messages, and remembers them in their order.
type server struct {
	mu     sync.Mutex
	taken  []string
	status int // of all answers, if it is not 0
	asked  int
}

func (s *server) set(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *server) post(body []byte) (mqtt.Result, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.status != 0 {
		return mqtt.Result{Status: s.status, Wait: time.Second}, nil
	}
	if bytes.Contains(body, []byte("poison")) {
		return mqtt.Result{Status: http.StatusBadRequest}, []byte(`{"error":"syntax error"}`)
	}
	verdicts := []string{}
	for line := range strings.SplitSeq(string(body), "\n") {
		s.taken = append(s.taken, line)
		verdicts = append(verdicts, "accepted")
	}
	text, _ := json.Marshal(map[string]any{"verdicts": verdicts})
	return mqtt.Result{Status: 200}, text
}

// seen returns how often each message was taken.
func (s *server) seen() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]int{}
	for _, m := range s.taken {
		seen[m]++
	}
	return seen
}

// rig is a fake cluster with a topic of three partitions, and a producer.
type rig struct {
	c        *kfake.Cluster
	producer *kgo.Client
	url, dir string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "pings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &rig{c, kafkatest.Client(t, kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("pings")), "kafka://" + strings.Join(c.ListenAddrs(), ",") + "/pings", t.TempDir()}
}

// send produces messages of ten riders, from number i on.
func (r *rig) send(t *testing.T, from, n int) {
	t.Helper()
	var list []*kgo.Record
	for i := from; i < from+n; i++ {
		rider := fmt.Sprintf("r-%d", i%10)
		list = append(list, &kgo.Record{Key: []byte(rider), Value: fmt.Appendf(nil, `{"rider_id":%q,"ts":%d}`, rider, i)})
	}
	r.produce(t, list...)
}

func (r *rig) produce(t *testing.T, list ...*kgo.Record) {
	t.Helper()
	if err := r.producer.ProduceSync(t.Context(), list...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// lag returns how many messages are not committed.
func (r *rig) lag(t *testing.T) int64 {
	t.Helper()
	adm := kadm.NewClient(r.producer)
	ends, err := adm.ListEndOffsets(t.Context(), "pings")
	if err != nil {
		t.Fatal(err)
	}
	var lag int64
	ends.Each(func(o kadm.ListedOffset) { lag += o.Offset })
	done, err := adm.FetchOffsets(t.Context(), "pingline")
	if err != nil {
		return lag
	}
	done.Each(func(o kadm.OffsetResponse) { lag -= o.At })
	return lag
}

// run starts a member, and returns what ends it.
func (r *rig) run(t *testing.T, s *server, logger *slog.Logger) (*kafka.Member, func()) {
	t.Helper()
	c, err := kafka.Open(kafka.Config{
		Topic: kafka.Topic{URL: r.url},
		Take:  s.post, Rejects: messages.KeepRejects(r.dir, 1<<20), CommitEvery: 100 * time.Millisecond, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return c, end
}

// All messages are taken once each, in the order of their riders, and committed.
func TestMessagesAreTaken(t *testing.T) {
	r, s := newRig(t), &server{}
	r.send(t, 0, 5000)
	c, end := r.run(t, s, nil)
	r.produce(t, &kgo.Record{Key: []byte("r-1")}) // a tombstone
	eventually(t, "all are committed", func() bool { return r.lag(t) == 0 })
	if st := c.Stats(); !st.Connected || st.Assigned != 3 || st.Lag != 0 || st.Messages[kafka.Taken] != 5000 || st.Messages[kafka.Ignored] != 1 || st.Messages[kafka.Refused] != 0 {
		t.Errorf("%+v", st)
	}
	if c.Notes() != nil {
		t.Errorf("notes %q", c.Notes())
	}
	last := map[string]int{}
	s.mu.Lock()
	if s.asked > 1000 {
		t.Errorf("%d requests", s.asked)
	}
	for _, m := range s.taken {
		var ping struct {
			RiderID string `json:"rider_id"`
			TS      int
		}
		if err := json.Unmarshal([]byte(m), &ping); err != nil || ping.TS < last[ping.RiderID] {
			t.Fatalf("%s behind %d, %v", m, last[ping.RiderID], err)
		}
		last[ping.RiderID] = ping.TS
	}
	s.mu.Unlock()
	end()
	r.send(t, 5000, 100)
	r.run(t, s, nil)
	eventually(t, "the new ones are committed", func() bool { return r.lag(t) == 0 })
	if seen := s.seen(); len(seen) != 5100 {
		t.Errorf("%d messages are taken", len(seen))
	} else {
		for m, n := range seen {
			if n != 1 {
				t.Errorf("%s is taken %d times", m, n)
			}
		}
	}
}

// While the server takes nothing, nothing is committed and partitions are paused; afterwards
// all is taken.
func TestServerTakesNothing(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r, s := newRig(t), &server{status: status}
			large := []byte(`"` + strings.Repeat("x", 100<<10) + `"`)
			for i := range 60 {
				r.produce(t, &kgo.Record{Partition: int32(i % 3), Key: fmt.Appendf(nil, "r-%d", i), Value: fmt.Appendf(nil, `{"n":%d,"note":%s}`, i, large)})
			}
			c, _ := r.run(t, s, nil)
			eventually(t, "partitions are paused", func() bool { return c.Stats().Paused > 0 && c.Stats().Messages[kafka.Again] > 0 })
			if n := r.lag(t); n != 60 {
				t.Errorf("%d messages are not committed, want 60", n)
			}
			if st := c.Stats(); st.Messages[kafka.Taken] != 0 || st.Lag == 0 {
				t.Errorf("%+v", st)
			}
			s.set(0)
			eventually(t, "all are committed", func() bool { return r.lag(t) == 0 && c.Stats().Paused == 0 })
			if n := len(s.seen()); n != 60 {
				t.Errorf("%d messages are taken", n)
			}
		})
	}
}

// Headers, which nobody reads, are memory all the same: a partition is paused for them.
func TestHeadersCount(t *testing.T) {
	r, s := newRig(t), &server{status: http.StatusServiceUnavailable}
	for i := range 20 {
		r.produce(t, &kgo.Record{Key: []byte("r-1"), Value: fmt.Appendf(nil, `{"n":%d}`, i), Headers: []kgo.RecordHeader{{Key: "h", Value: make([]byte, 100<<10)}}})
	}
	c, _ := r.run(t, s, nil)
	eventually(t, "the partition is paused", func() bool { return c.Stats().Paused > 0 })
}

// A message that cannot be read is kept in a file, with its place in the topic, and those beside
// it are taken.
func TestPoison(t *testing.T) {
	r, s := newRig(t), &server{}
	r.send(t, 0, 500)
	r.produce(t, &kgo.Record{Key: []byte("r-1"), Value: []byte("\xffpoison {")}, &kgo.Record{Key: []byte("r-2"), Value: []byte(`{"poison":1}`)})
	r.send(t, 500, 500)
	var log bytes.Buffer
	c, end := r.run(t, s, slog.New(slog.NewTextHandler(&log, nil)))
	eventually(t, "all are committed", func() bool { return r.lag(t) == 0 })
	if st := c.Stats(); st.Messages[kafka.Refused] != 2 || st.Messages[kafka.Taken] != 1000 || len(s.seen()) != 1000 {
		t.Errorf("%+v, %d taken", st, len(s.seen()))
	}
	end()
	text, err := os.ReadFile(filepath.Join(r.dir, messages.FileName))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		var m messages.Reject
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Topic != "pings" || m.Reason != "syntax error" || m.Offset == 0 {
			t.Errorf("%s: %v", line, err)
		}
		got = append(got, string(m.Key)+" "+string(m.Body))
	}
	if slices.Sort(got); !slices.Equal(got, []string{"r-1 \xffpoison {", `r-2 {"poison":1}`}) {
		t.Errorf("%q", got)
	}
	if !strings.Contains(log.String(), "offset=") {
		t.Errorf("the log says %s", log.String())
	}
}

// A message is read in the form that its header names, or else the settings; one that cannot be
// read in it is kept in a file as it is.
func TestProtobuf(t *testing.T) {
	header := func(text string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: "Content-Type", Value: []byte(text)}}
	}
	for format, plain := range map[string]bool{"": false, "?format=protobuf": true} {
		r, s := newRig(t), &server{}
		r.url += format
		ping := func(n int) []byte {
			attrs, err := pingline.NewAttrs(pingline.Float("fuel", float64(n)))
			if err != nil {
				t.Fatal(err)
			}
			e := pingline.Entry{Ping: pingline.Ping{Rider: "ana", Attrs: attrs, Fix: pingline.Fix{At: int64(n)}}}
			return pingproto.AppendPing(nil, &e)
		}
		text := func(n int) []byte { return fmt.Appendf(nil, `{"rider_id":"ana","ts":%d}`, n) }
		unnamed := text(3)
		if plain {
			unnamed = ping(3)
		}
		r.produce(t,
			&kgo.Record{Key: []byte("ana"), Value: ping(1), Headers: header(pingproto.PingType)},
			&kgo.Record{Key: []byte("ana"), Value: text(2), Headers: header("application/json; charset=utf-8")},
			&kgo.Record{Key: []byte("ana"), Value: unnamed},
			&kgo.Record{Key: []byte("ana"), Value: ping(4)[:6], Headers: header("Application/X-Protobuf")},
			&kgo.Record{Key: []byte("ana"), Value: ping(5), Headers: header(pingproto.ContentType)},
		)
		c, end := r.run(t, s, nil)
		eventually(t, "all are committed", func() bool { return r.lag(t) == 0 })
		if st := c.Stats(); st.Messages[kafka.Refused] != 1 || st.Messages[kafka.Taken] != 4 || len(s.seen()) != 4 {
			t.Errorf("%q: %+v, %v taken", format, st, s.seen())
		}
		for text := range s.seen() {
			if !strings.Contains(text, `"rider_id":"ana"`) || strings.Contains(text, `"ts":1,`) && !strings.Contains(text, `"attrs":{"fuel":1}`) {
				t.Errorf("%q: taken is %q", format, text)
			}
		}
		end()
		kept, err := os.ReadFile(filepath.Join(r.dir, messages.FileName))
		var m messages.Reject
		if err != nil || json.Unmarshal(kept, &m) != nil || m.Offset != 3 || !bytes.Equal(m.Body, ping(4)[:6]) || !strings.Contains(m.Reason, "no message of Protobuf") {
			t.Errorf("%q: %s, %v", format, kept, err)
		}
	}
}

// Where a refused message cannot be kept, its partition waits, and an operator is told.
func TestPoisonWithoutRoom(t *testing.T) {
	r, s := newRig(t), &server{}
	if err := os.WriteFile(filepath.Join(r.dir, messages.FileName), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	r.produce(t, &kgo.Record{Key: []byte("r-1"), Value: []byte("poison")})
	c, _ := r.run(t, s, nil)
	eventually(t, "a note", func() bool { return strings.Contains(strings.Join(c.Notes(), " "), messages.ErrFull.Error()) })
	if r.lag(t) != 1 {
		t.Error("the message is committed")
	}
	if err := os.Remove(filepath.Join(r.dir, messages.FileName)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is committed", func() bool { return r.lag(t) == 0 && c.Notes() == nil })
}

// More refused messages at once than the file takes are kept as it is moved away.
func TestMorePoisonThanFits(t *testing.T) {
	r, s := newRig(t), &server{}
	name := filepath.Join(r.dir, messages.FileName)
	var list []*kgo.Record
	for i := range 30 {
		list = append(list, &kgo.Record{Key: []byte("r-1"), Value: fmt.Appendf(nil, "poison %d %s", i, strings.Repeat("x", 64<<10))})
	}
	r.produce(t, list...)
	c, _ := r.run(t, s, nil)
	eventually(t, "all are kept", func() bool {
		if len(c.Notes()) > 0 {
			_ = os.Remove(name)
		}
		return r.lag(t) == 0
	})
	if n := c.Stats().Messages[kafka.Refused]; n != 30 {
		t.Errorf("%d are refused", n)
	}
}

// A refused message is no trouble of a member that has lost its partition.
func TestTroubleGoesWithItsPartition(t *testing.T) {
	r, s := newRig(t), &server{}
	if err := os.WriteFile(filepath.Join(r.dir, messages.FileName), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := &kgo.Record{Key: []byte("r-1"), Value: []byte("poison")}
	r.produce(t, bad)
	c, _ := r.run(t, s, nil)
	eventually(t, "a note", func() bool { return len(c.Notes()) > 0 })
	var gone kadm.Offsets
	gone.AddOffset("pings", bad.Partition, bad.Offset+1, -1)
	if _, err := kadm.NewClient(r.producer).DeleteRecords(t.Context(), gone); err != nil { // as retention does
		t.Fatal(err)
	}
	r.c.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		beat := req.ResponseKind().(*kmsg.HeartbeatResponse)
		beat.ErrorCode = kerr.UnknownMemberID.Code
		return beat, nil, true
	})
	eventually(t, "the note is gone", func() bool { return c.Notes() == nil && c.Stats().Assigned == 3 })
}

// A topic that is not there is told with advice.
func TestTopicIsMissing(t *testing.T) {
	r := newRig(t)
	r.url = strings.TrimSuffix(r.url, "pings") + "phones"
	c, _ := r.run(t, &server{}, nil)
	eventually(t, "a note", func() bool {
		return strings.Contains(strings.Join(c.Notes(), " "), "phones: it is not there; make the topic")
	})
}

// A note of a fetch that failed goes when messages come again.
func TestFetchFails(t *testing.T) {
	r, s := newRig(t), &server{}
	c, _ := r.run(t, s, nil)
	r.send(t, 0, 10)
	eventually(t, "all are taken", func() bool { return len(s.seen()) == 10 })
	var right atomic.Bool
	r.c.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if right.Load() {
			return nil, nil, false
		}
		r.c.KeepControl()
		ask, out := req.(*kmsg.FetchRequest), req.ResponseKind().(*kmsg.FetchResponse)
		for _, topic := range ask.Topics {
			of := kmsg.NewFetchResponseTopic()
			of.Topic, of.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				part := kmsg.NewFetchResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				of.Partitions = append(of.Partitions, part)
			}
			out.Topics = append(out.Topics, of)
		}
		return out, nil, true
	})
	r.send(t, 10, 10)
	eventually(t, "a note", func() bool { return strings.Contains(strings.Join(c.Notes(), " "), "TOPIC_AUTHORIZATION_FAILED") })
	right.Store(true)
	for i := 20; c.Notes() != nil; i += 10 {
		r.send(t, i, 10)
		eventually(t, "all are taken", func() bool { return len(s.seen()) == i+10 })
		if i > 10_000 {
			t.Fatalf("messages come, and the notes are %q", c.Notes())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A batch that is small only as long as it is compressed takes no more memory than the bound: its
// partition stops, an operator is told, and others go on.
func TestBomb(t *testing.T) {
	r, s := newRig(t), &server{}
	hostile := kafkatest.Client(t, kgo.SeedBrokers(r.c.ListenAddrs()...), kgo.DefaultProduceTopic("pings"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(90<<20))
	if err := hostile.ProduceSync(t.Context(), &kgo.Record{Partition: 1, Value: make([]byte, 80<<20)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c, _ := r.run(t, s, nil)
	eventually(t, "a note", func() bool { return strings.Contains(strings.Join(c.Notes(), " "), "partition 1") })
	if err := hostile.ProduceSync(t.Context(), &kgo.Record{Partition: 2, Value: []byte(`{"rider_id":"r"}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another partition goes on", func() bool { return len(s.seen()) == 1 })
	if c.Notes() == nil {
		t.Error("the note is gone, and the partition stands still")
	}
}

// Members come and go while messages come: each message is taken.
func TestRebalances(t *testing.T) {
	r, s := newRig(t), &server{}
	_, end := r.run(t, s, nil)
	const rounds, each = 6, 300
	for i := range rounds {
		r.send(t, i*each, each)
		_, next := r.run(t, s, nil)
		if i%2 == 0 {
			eventually(t, "half is taken", func() bool { return len(s.seen()) >= i*each+each/2 })
		}
		end()
		end = next
	}
	eventually(t, "all are committed", func() bool { return r.lag(t) == 0 })
	seen := s.seen()
	if len(seen) != rounds*each {
		t.Errorf("%d messages are taken, want %d", len(seen), rounds*each)
	}
	for m, n := range seen {
		if n != 1 { // each member has committed what it took
			t.Errorf("%s is taken %d times", m, n)
		}
	}
}

// A cluster that is not there is told of, and hinders nothing.
func TestUnreachable(t *testing.T) {
	r, s := newRig(t), &server{}
	r.c.Close()
	c, end := r.run(t, s, nil)
	eventually(t, "a note", func() bool { return len(c.Notes()) > 0 && !c.Stats().Connected })
	if note := c.Notes()[0]; !strings.HasPrefix(note, "--kafka-in: topic pings: ") {
		t.Errorf("the note is %q", note)
	}
	end()
}

func TestTopic(t *testing.T) {
	for name, tt := range map[string]struct {
		of         kafka.Topic
		flag, want string
	}{
		"nowhere":              {},
		"hosts":                {of: kafka.Topic{URL: "kafka://a,b:9093/pings"}},
		"a group":              {of: kafka.Topic{URL: "kafkas://u@a/pings?group=g&start=latest&sasl=scram-sha-256", PasswordFile: "f", CAFile: "f"}},
		"no topic":             {of: kafka.Topic{URL: "kafka://a"}, flag: "kafka-in", want: "not of the form"},
		"a password":           {of: kafka.Topic{URL: "kafka://u:hunter2@a/pings"}, flag: "kafka-in", want: "put it into a file"},
		"no password":          {of: kafka.Topic{URL: "kafka://u@a/pings"}, flag: "kafka-in", want: "--kafka-in-password-file"},
		"a start":              {of: kafka.Topic{URL: "kafka://a/pings?start=now"}, flag: "kafka-in", want: "start=now"},
		"no group":             {of: kafka.Topic{URL: "kafka://a/pings?group="}, flag: "kafka-in", want: "group="},
		"a form":               {of: kafka.Topic{URL: "kafka://a/pings?format=avro"}, flag: "kafka-in", want: "format=avro is neither json nor protobuf"},
		"a form that there is": {of: kafka.Topic{URL: "kafka://a/pings?format=protobuf"}},
		"an option":            {of: kafka.Topic{URL: "kafka://a/pings?partitions=1"}, flag: "kafka-in", want: `there is no option "partitions", only group, start, format, sasl`},
		"a password of nobody": {of: kafka.Topic{URL: "kafka://a/pings", PasswordFile: "f"}, flag: "kafka-in-password-file", want: "takes a user"},
		"no TLS":               {of: kafka.Topic{URL: "kafka://a/pings", CAFile: "f"}, flag: "kafka-in-ca-file", want: "takes TLS"},
		"a file of nothing":    {of: kafka.Topic{CAFile: "f"}, flag: "kafka-in-ca-file", want: "give both"},
		"another of nothing":   {of: kafka.Topic{PasswordFile: "f"}, flag: "kafka-in-password-file", want: "give both"},
	} {
		flag, err := tt.of.Check()
		if flag != tt.flag || (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %s: %v, want %s: %s", name, flag, err, tt.flag, tt.want)
		}
	}
	if _, err := kafka.Open(kafka.Config{Topic: kafka.Topic{URL: "kafka://u:hunter2@a/pings"}}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if (*kafka.Member)(nil).Stats() != nil || (*kafka.Member)(nil).Notes() != nil {
		t.Error("nobody has counts")
	}
}
