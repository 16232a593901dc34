package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pingline"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/internal/pingproto"
	"pingline/sink/kafka"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// rig is topics of a fake, and a reader of them.
type rig struct {
	*kafka.Topics
	c      *kfake.Cluster
	reader *kgo.Client
}

func newRig(t *testing.T, cfg kafka.Config, opts ...kfake.Opt) *rig {
	t.Helper()
	c := fake(t, opts...)
	cfg.URL, cfg.Timeout = "kafka://"+strings.Join(c.ListenAddrs(), ",")+"/pings"+cfg.URL, patience
	return &rig{open(t, cfg), c, kafkatest.Client(t, kgo.SeedBrokers(c.ListenAddrs()...))}
}

func (r *rig) write(t *testing.T, list ...pingline.Entry) {
	t.Helper()
	if err := r.Write(t.Context(), rowsOf(r.Topics, list)); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) read(t *testing.T, topics ...string) []*kgo.Record {
	t.Helper()
	list, err := kafkatest.Read(t.Context(), r.reader, topics...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func refused(t *testing.T, err error, kind store.Kind, reason string) {
	t.Helper()
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Reason != reason || kind == store.Configure && r.Advice == "" {
		t.Fatalf("the error is %v, %+v, want a refusal of kind %v for %q", err, r, kind, reason)
	}
}

// message is the value of a ping's message.
type message struct {
	RiderID, DeviceID, Event, TripID, Cell string
	TS                                     int64
	Lat, Lon                               float64
	Late                                   bool
	Nano                                   int64
}

func TestMessages(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	list := storetest.Fleet(1, 1000)
	for i := range list {
		list[i].Rider = `it's "` + list[i].Rider + `" 🚕`
		if list[i].Apart = list[i].Late; i%7 == 0 {
			list[i].Event = "sos"
		}
	}
	point := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{
		Name: "pingline_node", At: storetest.Recently, Tags: []pingline.Tag{{Key: "node", Value: "a"}},
		Fields: []pingline.PointField{pingline.Int("i", 1), pingline.Float("f", 1), pingline.Float("g", 1e300), pingline.Text("t", "\\\""), pingline.Bool("b", true)},
	}}
	r.write(t, append(slices.Clone(list), point)...)
	got := map[string][]*kgo.Record{}
	all := r.read(t, "pings", "pings.event")
	partition := map[string]int32{}
	for _, m := range all {
		got[m.Topic] = append(got[m.Topic], m)
		var v message
		dec := json.NewDecoder(strings.NewReader(strings.NewReplacer("rider_id", "RiderID", "device_id", "DeviceID", "trip_id", "TripID").Replace(string(m.Value))))
		if err := dec.Decode(&v); err != nil || v.RiderID != string(m.Key) || (v.Event == "") == (m.Topic == "pings.event") {
			t.Fatalf("%s: %s of key %q: %v", m.Topic, m.Value, m.Key, err)
		}
		if p, known := partition[v.RiderID]; known && p != m.Partition {
			t.Errorf("messages of %s are in two partitions", v.RiderID)
		}
		partition[v.RiderID] = m.Partition
		if len(m.Headers) != 2 || m.Headers[1].Key != kafka.HeaderVerdict || string(m.Headers[1].Value) != "accepted" {
			t.Fatalf("headers %q", m.Headers)
		}
		i := v.TS - storetest.Recently
		e := &list[i]
		if v.RiderID != e.Rider || v.DeviceID != e.Device || v.TripID != e.Trip || v.Event != e.Event || v.Lat != e.Lat() || v.Lon != e.Lon() || v.Late != e.Late || v.Nano != e.Nano() {
			t.Fatalf("%s, want %+v", m.Value, e)
		}
	}
	if len(all) != len(list) || len(kafkatest.IDs(all)) != len(list) || len(got["pings.event"]) != 143 || len(partition) != 10 {
		t.Errorf("%d messages, %d ids, %d events, %d riders", len(all), len(kafkatest.IDs(all)), len(got["pings.event"]), len(partition))
	}
	self := r.read(t, "pings.self")
	const want = `{"name":"pingline_node","ts":T,"tags":{"node":"a"},"fields":{"i":1,"f":1.0,"g":1e+300,"t":"\\\"","b":true}}`
	if len(self) != 1 || string(self[0].Key) != "pingline_node,node=a" || len(self[0].Headers) != 1 {
		t.Fatalf("points %v", self)
	}
	var v any
	if err := json.Unmarshal(self[0].Value, &v); err != nil || strings.Replace(want, "T", jsonOf(t, storetest.Recently), 1) != string(self[0].Value) {
		t.Errorf("%s, %v", self[0].Value, err)
	}
	// In the order of their writes.
	last := map[string]int64{}
	for _, m := range got["pings"] {
		var v message
		_ = json.Unmarshal(m.Value, &v)
		if v.TS < last[string(m.Key)] {
			t.Errorf("%s behind %d", m.Value, last[string(m.Key)])
		}
		last[string(m.Key)] = v.TS
	}
}

// Messages of Protobuf have the same keys and ids as those of JSON, and say what they are.
func TestProtobuf(t *testing.T) {
	list := storetest.Dressed(t, 1)
	for i := range list {
		if i%7 == 0 {
			list[i].Event = "sos"
		}
	}
	point := pingline.Entry{Kind: pingline.Activity, Point: &pingline.Point{
		Name: "cell_activity", At: storetest.Recently, Tags: []pingline.Tag{{Key: "cell", Value: "85"}}, Fields: []pingline.PointField{pingline.Int("pings", 1)},
	}}
	plain, proto := newRig(t, kafka.Config{CreateTopics: true, URL: "?format=json"}), newRig(t, kafka.Config{CreateTopics: true, URL: "?format=protobuf"})
	of := map[string]*kgo.Record{}
	for _, r := range []*rig{plain, proto} {
		r.write(t, append(slices.Clone(list), point)...)
		all := r.read(t, "pings", "pings.event", "pings.activity")
		if len(all) != len(list)+1 {
			t.Fatalf("%d messages", len(all))
		}
		for _, m := range all {
			id := string(m.Headers[0].Value)
			if r == plain {
				of[id] = m
				continue
			}
			other, last := of[id], m.Headers[len(m.Headers)-1]
			if other == nil || other.Topic != m.Topic || string(other.Key) != string(m.Key) || len(m.Headers) != len(other.Headers)+1 || last.Key != "content-type" {
				t.Fatalf("%s %q has headers %q", m.Topic, m.Key, m.Headers)
			}
			want := pingproto.AppendPoint(nil, point.Point)
			if m.Topic != "pings.activity" {
				i := slices.IndexFunc(list, func(e pingline.Entry) bool { return bytes.Equal(pingproto.AppendPing(nil, &e), m.Value) })
				if i < 0 || list[i].Rider != string(m.Key) || string(last.Value) != pingproto.PingType {
					t.Errorf("%x of type %q is ping %d", m.Value, last.Value, i)
				}
			} else if !bytes.Equal(m.Value, want) || string(last.Value) != pingproto.PointType {
				t.Errorf("%x of type %q, want %x", m.Value, last.Value, want)
			}
		}
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A row that is written again, with other content too, has the id that it had.
func TestIDs(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	list := storetest.Fleet(2, 100)
	r.write(t, list...)
	for i := range list {
		list[i].Skipped, list[i].Trip = list[i].Skipped+1, "changed"
	}
	r.write(t, list...)
	ids := kafkatest.IDs(r.read(t, "pings"))
	for id, n := range ids {
		if n != 2 || len(id) != 32 {
			t.Errorf("id %s: %d messages", id, n)
		}
	}
	if len(ids) != len(list) {
		t.Errorf("%d ids", len(ids))
	}
	e := list[0]
	e.Device, e.Rider = e.Rider[len(e.Rider)-1:]+e.Device, e.Rider[:len(e.Rider)-1]
	late := list[0]
	late.Late = !late.Late
	r.write(t, e, late)
	if n := len(kafkatest.IDs(r.read(t, "pings"))); n != len(list)+2 {
		t.Errorf("%d ids, want %d", n, len(list)+2)
	}
}

// hold makes requests of a kind wait until the test lets them go on.
func hold(c *kfake.Cluster, key kmsg.Key) (release func()) {
	var once sync.Once
	let := make(chan struct{})
	c.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		select {
		case <-let:
		default:
			c.SleepControl(func() { <-let })
		}
		return nil, nil, false
	})
	return func() { once.Do(func() { close(let) }) }
}

// A write that was given up is waited for by the next one, whether that has the same rows or
// the first of them: each is one message, in order.
func TestGivenUp(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	r.write(t, storetest.Fleet(9, 1)...)
	list := storetest.Fleet(3, 100)
	release := hold(r.c, kmsg.Produce)
	defer release()
	for _, n := range []int{100, 100, 10} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := r.Write(ctx, rowsOf(r.Topics, list[:n])); !errors.Is(err, ctx.Err()) || err == nil {
			t.Errorf("the error is %v", err)
		}
		cancel()
	}
	release()
	r.write(t, list[:10]...)
	r.write(t, list[10:]...)
	r.write(t, storetest.Fleet(4, 50)...)
	all := r.read(t, "pings")
	if len(all) != 151 || len(kafkatest.IDs(all)) != 151 {
		t.Errorf("%d messages, %d ids, want 151", len(all), len(kafkatest.IDs(all)))
	}
}

// Of a write that fails in part, the next one sends the rest.
func TestFailsInPart(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true})
	r.write(t, storetest.Fleet(9, 1)...)
	failed := 0
	r.c.ControlKey(kmsg.Produce.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if failed++; failed > 1 {
			return nil, nil, false
		}
		p := req.(*kmsg.ProduceRequest)
		resp := p.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range p.Topics {
			out := kmsg.NewProduceResponseTopic()
			out.Topic, out.TopicID = topic.Topic, topic.TopicID
			for _, one := range topic.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = one.Partition, kerr.InvalidRecord.Code
				out.Partitions = append(out.Partitions, part)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp, nil, true
	})
	list := storetest.Fleet(5, 1000)
	rows := rowsOf(r.Topics, list)
	err := r.Write(t.Context(), rows)
	refused(t, err, store.BadRows, store.Other)
	if err := r.Write(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	all := r.read(t, "pings")
	if len(all) != 1001 || len(kafkatest.IDs(all)) != 1001 {
		t.Errorf("%d messages, %d ids, want 1001", len(all), len(kafkatest.IDs(all)))
	}
}

func TestMissingTopic(t *testing.T) {
	r := newRig(t, kafka.Config{})
	rows := rowsOf(r.Topics, storetest.Fleet(6, 10))
	refused(t, r.Write(t.Context(), rows), store.Configure, store.Missing)
	refused(t, r.Write(t.Context(), store.Rows{}), store.Configure, store.Missing)
	found := r.Check(t.Context())
	if last := found[len(found)-1]; last.Remedy == "" || !strings.HasPrefix(last.Found, "pings, pings.event") {
		t.Errorf("%+v", found)
	}
	adm := kadm.NewClient(r.reader)
	if _, err := adm.CreateTopic(t.Context(), 1, 3, nil, "pings"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for err := r.Write(ctx, rows); err != nil; err = r.Write(ctx, rows) { // what is known of the cluster is some ms old
		refused(t, err, store.Configure, store.Missing)
	}
	if found := r.Check(t.Context()); len(found) != 3 || found[1].Found != "has 1 partitions, 3 replicas, min.insync.replicas 1: a broker may acknowledge alone, and a message is lost with it" {
		t.Errorf("%+v", found)
	}
	if _, err := adm.DeleteTopics(t.Context(), "pings"); err != nil {
		t.Fatal(err)
	}
	for { // the client may believe in the topic for a while
		if err := r.Write(ctx, rowsOf(r.Topics, storetest.Fleet(7, 10))); err != nil && ctx.Err() == nil {
			refused(t, err, store.Configure, store.Missing)
			break
		}
	}
}

// A port that closes the connection at once may want another scheme.
func TestPortOfTheOtherKind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}()
	for scheme, want := range map[string]string{"kafka": "may ask for TLS or for a user", "kafkas": "may speak no TLS"} {
		found := open(t, kafka.Config{URL: scheme + "://" + l.Addr().String() + "/pings", Timeout: patience}).Check(t.Context())
		if len(found) != 1 || !strings.Contains(found[0].Remedy, want) {
			t.Errorf("%s: %+v, want %q", scheme, found, want)
		}
	}
}

// A topic is made as the URL says.
func TestMadeTopic(t *testing.T) {
	r := newRig(t, kafka.Config{CreateTopics: true, URL: "?partitions=7&replicas=2&compression=zstd"})
	r.write(t, storetest.Fleet(8, 100)...)
	d, err := kadm.NewClient(r.reader).ListTopics(t.Context())
	if names := d.Names(); err != nil || !slices.Equal(names, []string{"pings"}) || len(d["pings"].Partitions) != 7 || d["pings"].Partitions.NumReplicas() != 2 {
		t.Errorf("%v, %+v, %v", names, d, err)
	}
}

// A user without rights is for an operator.
func TestRights(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "secret"), kfake.User("PLAIN", kafkatest.User, kafkatest.Password), kfake.SeedTopics(1, "pings"))
	to := open(t, kafka.Config{URL: "kafka://" + kafkatest.User + "@" + strings.Join(c.ListenAddrs(), ",") + "/pings?sasl=plain", PasswordFile: file(t, kafkatest.Password+"\n"), Timeout: patience})
	refused(t, to.Write(t.Context(), rowsOf(to, storetest.Fleet(6, 10))), store.Configure, store.Rights)
	missing := open(t, kafka.Config{URL: "kafka://" + kafkatest.User + "@" + strings.Join(c.ListenAddrs(), ",") + "/pings", PasswordFile: "/none", Timeout: patience})
	refused(t, missing.Write(t.Context(), store.Rows{}), store.Configure, store.Credentials)
}

func TestNew(t *testing.T) {
	for url, want := range map[string]string{
		"kafka://a/pings":                           "",
		"kafkas://a:9093,b,[::1]:9092/p.q_r-1":      "",
		"KAFKA://a/pings?partitions=3&replicas=2":   "",
		"kafka://a/pings?compression=lz4":           "",
		"http://a/pings":                            "not of the form",
		"kafka://a":                                 "not of the form",
		"kafka://a,/pings":                          "not of the form",
		"kafka://a:99999/pings":                     "not of the form",
		"kafka://a:http/pings":                      "not of the form",
		"kafka://a:0/pings":                         "not of the form",
		"kafka://a/":                                `topic ""`,
		"kafka://a/p/q":                             `topic "p/q"`,
		"kafka://a/" + strings.Repeat("t", 241):     "topic: 241 bytes, more than 240",
		"kafka://u:hunter2@a/pings":                 "has a password in it",
		"kafka://u:1/hunter2@a/pings":               "not of the form",
		"kafka://u@a/pings":                         "belong together",
		"kafka://a/pings?sasl=plain":                "sasl=plain: takes a user",
		"kafka://a/pings?acks=1":                    `there is no option "acks"`,
		"kafka://a/pings?partitions=0":              "partitions=0 is not in [1, 10000]",
		"kafka://a/pings?replicas=x":                "replicas=x is not in [1, 100]",
		"kafka://a/pings?compression=best":          "compression=best is none of gzip",
		"kafka://a/pings?partitions=1&partitions=2": "each once",
		"kafka://a/pings?format=protobuf":           "",
		"kafka://a/pings?format=json":               "",
		"kafka://a/pings?format=xml":                "format=xml is neither json nor protobuf",
	} {
		_, err := kafka.New(kafka.Config{URL: url})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || !errors.As(err, new(*kafka.ConfigFault))) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	for _, cfg := range []kafka.Config{{CAFile: "f"}, {CertFile: "f"}, {KeyFile: "f"}, {Timeout: -1}, {PasswordFile: "f"}} {
		cfg.URL = "kafka://a/pings"
		if _, err := kafka.New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
