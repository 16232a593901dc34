package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline"
	"pingline/internal/jvm"
	"pingline/internal/kafkalink/kafkatest"
)

// Messages go from a topic through two nodes into another topic, while a broker is killed and
// restarted, a node is killed and restarted, and so the members of the group change: each
// ping is there, and is one message to who goes by the header id.
func TestKafkaThroughAndThrough(t *testing.T) {
	jvm.Need(t, "kafka")
	c := kafkatest.Run(t, 3, false)
	producer := c.Client(t, kgo.DefaultProduceTopic("in"))
	if _, err := kadm.NewClient(producer).CreateTopic(t.Context(), 6, 3, nil, "in"); err != nil {
		t.Fatal(err)
	}
	seeds := strings.Join(c.Seeds, ",")
	dirs := []string{t.TempDir(), t.TempDir()}
	start := func(i int) *process {
		return serve(t, dirs[i], "", "--node="+string(rune('a'+i)), "--kafka-in=kafka://"+seeds+"/in?group=g", "--shard=name=k,url=kafka://"+seeds+"/out",
			"--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--batch-wait=100ms")
	}
	nodes := []*process{start(0), start(1)}
	const riders, each = 20, 300
	all := wander(riders, each, time.Now().Add(-10*time.Minute))
	sent := 0
	send := func(until int) {
		var list []*kgo.Record
		for ; sent < until; sent++ {
			list = append(list, &kgo.Record{Key: []byte(all[sent].Rider), Value: pingJSONOf(&all[sent])})
		}
		if err := producer.ProduceSync(t.Context(), list...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	taken := func() (n float64) {
		for _, p := range nodes {
			v, err := p.metric(`pingline_kafka_in_messages_total{outcome="taken"}`)
			if err == nil {
				n += v
			}
		}
		return n
	}
	n := len(all)
	send(n / 4)
	eventually(t, "messages are taken", func() bool { return taken() > float64(n/8) })
	c.Brokers[0].Kill()
	send(n / 2)
	nodes[0].kill()
	send(3 * n / 4)
	nodes[0] = start(0)
	if err := c.Brokers[0].Restart(); err != nil {
		t.Fatal(err)
	}
	send(n)
	adm := kadm.NewClient(producer)
	eventually(t, "all offsets are committed", func() bool {
		done, err := adm.FetchOffsets(t.Context(), "g")
		sum := int64(0)
		done.Each(func(o kadm.OffsetResponse) { sum += max(0, o.At) })
		return err == nil && sum == int64(n)
	})
	for _, p := range nodes {
		p.settled()
	}
	list, err := kafkatest.Read(t.Context(), c.Client(t), "out", "out.event")
	if err != nil {
		t.Fatal(err)
	}
	ids := kafkatest.IDs(list)
	pings := map[string]string{} // to id
	for _, r := range list {
		var v struct {
			RiderID string `json:"rider_id"`
			TS      int64
		}
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(v.RiderID, " ", v.TS)
		if was, again := pings[key]; again && was != string(r.Headers[0].Value) {
			t.Errorf("%s has two ids, of which one is of %s", key, r.Value)
		}
		pings[key] = string(r.Headers[0].Value)
	}
	if len(ids) != n || len(pings) != n {
		t.Errorf("%d ids, %d pings, want %d", len(ids), len(pings), n)
	}
	t.Logf("%d pings are %d messages", n, len(list))
	for _, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("it exits with %d", code)
		}
	}
}

// pingJSONOf returns a ping as POST /v1/pings takes it.
func pingJSONOf(p *pingline.Ping) []byte {
	return fmt.Appendf(nil, `{"rider_id":%q,"ts":%d,"lat":%v,"lon":%v}`, p.Rider, p.At, p.Lat(), p.Lon())
}
