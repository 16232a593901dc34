package sqs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/ingest/messages"
	"pingline/ingest/mqtt"
)

// patience is how long anything may take on a busy machine.
const patience = 5 * time.Minute

func eventually(t *testing.T, fact string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, fact)
		}
	}
}

// held is a message of a queue.
type held struct {
	body              string
	receives, extends int
	visible           bool
}

// queue answers as SQS does, for faults that ElasticMQ cannot show. A message becomes visible
// again only if that is asked for.
type queue struct {
	t *testing.T

	mu       sync.Mutex // guards the fields below
	list     map[string]*held
	refusal  string // code of all answers, if it is not ""
	refused  string // operation that alone has it; "": all
	most     int    // receives of the redrive policy; 0: there is none
	moved    []string
	noDelete int // how many deletes fail
}

func newQueue(t *testing.T, bodies ...string) (*queue, string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2-of-a-test")
	q := &queue{t: t, list: make(map[string]*held)}
	for i, body := range bodies {
		q.list[fmt.Sprint("m-", i)] = &held{body: body, visible: true}
	}
	server := httptest.NewServer(q)
	t.Cleanup(server.Close)
	return q, "sqs+" + server.URL + "/pings?visibility=2s"
}

// do calls f with the queue locked.
func (q *queue) do(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
}

func (q *queue) len() (n int) {
	q.do(func() { n = len(q.list) })
	return n
}

func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // called off
	}
	var in struct {
		MaxNumberOfMessages int

		Entries []struct {
			ID                string `json:"Id"`
			ReceiptHandle     string
			VisibilityTimeout int
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		q.t.Errorf("a request: %v", err)
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if operation == "ReceiveMessage" {
		for range 5 { // so long is a long poll here
			ready := false
			q.do(func() {
				for _, m := range q.list {
					ready = ready || m.visible
				}
			})
			if ready {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != "" && (q.refused == "" || q.refused == operation) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"com.amazonaws.sqs#%s","message":"for a test"}`, q.refusal)
		return
	}
	var ok, no []map[string]any
	switch operation {
	case "GetQueueUrl":
		fmt.Fprint(w, `{"QueueUrl":"http://x/0/pings"}`)
		return
	case "GetQueueAttributes":
		attributes := map[string]string{}
		if q.most > 0 {
			attributes["RedrivePolicy"] = fmt.Sprintf(`{"maxReceiveCount":%d}`, q.most)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Attributes": attributes})
		return
	case "ReceiveMessage":
		if in.MaxNumberOfMessages > 10 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"com.amazon.coral.service#InvalidParameterValueException","message":"Value 11 for parameter MaxNumberOfMessages is invalid"}`)
			return
		}
		for id, m := range q.list {
			if !m.visible || len(ok) == 10 {
				continue
			}
			if m.receives++; q.most > 0 && m.receives > q.most {
				q.moved = append(q.moved, id)
				delete(q.list, id)
				continue
			}
			m.visible = false
			ok = append(ok, map[string]any{"MessageId": id, "ReceiptHandle": id, "Body": m.body})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Messages": ok})
		return
	}
	for _, e := range in.Entries {
		m := q.list[e.ReceiptHandle]
		switch {
		case m == nil || operation == "DeleteMessageBatch" && q.noDelete > 0:
			q.noDelete--
			no = append(no, map[string]any{"Id": e.ID, "Code": "InternalError", "SenderFault": false})
			continue
		case operation == "DeleteMessageBatch":
			delete(q.list, e.ReceiptHandle)
		case e.VisibilityTimeout == 0:
			m.visible = true
		default:
			m.extends++
		}
		ok = append(ok, map[string]any{"Id": e.ID})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Successful": ok, "Failed": no})
}

// post takes messages as POST /v1/pings does. It looks that none is deleted before.
type post struct {
	q *queue

	mu     sync.Mutex // guards the fields below
	status int        // of all answers, if it is not 0
	taken  map[string]int
	asked  map[string]bool
}

func (p *post) take(body []byte) (mqtt.Result, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.SplitSeq(string(body), "\n") {
		p.asked[line] = true
	}
	if p.status != 0 {
		return mqtt.Result{Status: p.status, Wait: time.Second}, nil
	}
	if bytes.Contains(body, []byte("poison")) {
		return mqtt.Result{Status: http.StatusBadRequest}, []byte(`{"error":"syntax error"}`)
	}
	verdicts := []string{}
	for line := range strings.SplitSeq(string(body), "\n") {
		there := false
		p.q.do(func() {
			for _, m := range p.q.list {
				there = there || m.body == line || strings.Contains(m.body, "TopicArn")
			}
		})
		if !there {
			p.q.t.Errorf("%s is deleted before it is taken", line)
		}
		p.taken[line]++
		verdicts = append(verdicts, "accepted")
	}
	text, _ := json.Marshal(map[string]any{"verdicts": verdicts})
	return mqtt.Result{Status: http.StatusOK}, text
}

func (p *post) set(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

// rig is a Receiver that runs.
type rig struct {
	*Receiver
	post *post
	dir  string
	log  *bytes.Buffer
	stop func()
}

func start(t *testing.T, q *queue, url string, status int, most int64) *rig {
	t.Helper()
	g := &rig{post: &post{q: q, status: status, taken: make(map[string]int), asked: make(map[string]bool)}, dir: t.TempDir(), log: new(bytes.Buffer)}
	var err error
	g.Receiver, err = Open(Config{Inlet: Inlet{URL: url}, Take: g.post.take, Rejects: messages.KeepRejects(g.dir, most), Logger: slog.New(slog.NewTextHandler(g.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- g.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if strings.Contains(g.log.String(), "hunter2") {
			t.Error("the log has a secret")
		}
	})
	t.Cleanup(g.stop)
	return g
}

const ping = `{"rider_id":"r-%d","ts":1}`

func pings(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf(ping, i))
	}
	return list
}

// Messages are deleted once they are taken, each is taken once, also one in a notification of
// SNS, and deletes that fail are made again.
func TestTakenIsDeleted(t *testing.T) {
	list := pings(57)
	wrapped, _ := json.Marshal(map[string]string{"Type": "Notification", "TopicArn": "arn:x", "Message": `{"rider_id":"sns","ts":1}`})
	q, url := newQueue(t, append(list, string(wrapped))...)
	q.noDelete = 2
	g := start(t, q, url, 0, 1<<20)
	eventually(t, "all are deleted", func() bool { return q.len() == 0 })
	g.stop()
	for _, body := range append(list, `{"rider_id":"sns","ts":1}`) {
		if g.post.taken[body] != 1 {
			t.Errorf("%s was taken %d times", body, g.post.taken[body])
		}
	}
	if s := g.Stats(); s.Messages[Taken] != 58 || s.Messages[Again]+s.Messages[Refused] != 0 {
		t.Errorf("counts %v", s.Messages)
	}
}

// While pings are not taken, messages stay hidden from others, are received once, and are taken
// later.
func TestNotTakenIsKept(t *testing.T) {
	q, url := newQueue(t, pings(30)...)
	g := start(t, q, url, http.StatusServiceUnavailable, 1<<20)
	extended := func() bool {
		all := true
		q.do(func() {
			for _, m := range q.list {
				all = all && m.extends >= 2
			}
		})
		return all
	}
	eventually(t, "the visibility of all is extended", extended)
	q.do(func() {
		for id, m := range q.list {
			if m.receives != 1 || m.visible {
				t.Errorf("%s: %+v", id, *m)
			}
		}
	})
	g.post.set(0)
	eventually(t, "all are deleted", func() bool { return q.len() == 0 })
}

// Messages that are not taken when the node stops are given back to the queue.
func TestStopGivesBack(t *testing.T) {
	q, url := newQueue(t, pings(10)...)
	g := start(t, q, url+"&pollers=1", http.StatusTooManyRequests, 1<<20) // another could receive them again before it hears of the end
	eventually(t, "all have arrived", func() bool {
		g.post.mu.Lock()
		defer g.post.mu.Unlock()
		return len(g.post.asked) == 10
	})
	g.stop()
	q.do(func() {
		for id, m := range q.list {
			if !m.visible {
				t.Errorf("%s is not visible", id)
			}
		}
	})
	if n := g.Stats().Messages[Again]; n != 10 {
		t.Errorf("%d were given back", n)
	}
}

// A message that can never be taken is moved to a file, and its neighbours are taken.
func TestPoison(t *testing.T) {
	q, url := newQueue(t, append(pings(9), "poison")...)
	g := start(t, q, url, 0, 1<<20)
	eventually(t, "all are deleted", func() bool { return q.len() == 0 })
	g.stop()
	text, err := os.ReadFile(filepath.Join(g.dir, messages.FileName))
	var reject messages.Reject
	if err == nil {
		err = json.Unmarshal(text, &reject)
	}
	if err != nil || string(reject.Body) != "poison" || string(reject.Key) != "m-9" || reject.Topic != "pings" || reject.Reason != "syntax error" {
		t.Errorf("%s, %v", text, err)
	}
	if len(g.post.taken) != 9 || !strings.Contains(g.log.String(), "id=m-9") {
		t.Errorf("%d were taken, the log is %s", len(g.post.taken), g.log)
	}
}

// A queue with a redrive policy moves such a message away itself.
func TestPoisonWithRedrive(t *testing.T) {
	q, url := newQueue(t, append(pings(9), "poison")...)
	q.most = 3
	g := start(t, q, url, 0, 1<<20)
	eventually(t, "none is left", func() bool { return q.len() == 0 })
	g.stop()
	if _, err := os.Stat(filepath.Join(g.dir, messages.FileName)); err == nil || len(q.moved) != 1 || q.moved[0] != "m-9" {
		t.Errorf("moved %v, %v", q.moved, err)
	}
	if s := g.Stats(); s.Messages[Refused] != 3 {
		t.Errorf("counts %v", s.Messages)
	}
}

// A message that cannot be kept in the file stays in the queue, and a note says so.
func TestNoRoomForPoison(t *testing.T) {
	q, url := newQueue(t, "poison")
	g := start(t, q, url, 0, 10)
	eventually(t, "a note says so", func() bool { return len(g.Notes()) == 1 })
	if note := g.Notes()[0]; !strings.Contains(note, "--sqs-in: ") || !strings.Contains(note, "--deadletter-max-bytes") || q.len() != 1 {
		t.Errorf("note %q, %d messages", note, q.len())
	}
}

// Messages that cannot be kept stay in the queue, and hinder no others.
func TestNoRoomHindersNobody(t *testing.T) {
	q, url := newQueue(t, "poison", "poison 2", "poison 3")
	g := start(t, q, url+"&pollers=1", 0, 10)
	eventually(t, "a note says so", func() bool { return len(g.Notes()) == 1 })
	q.do(func() { q.list["good"] = &held{body: fmt.Sprintf(ping, 1), visible: true} })
	eventually(t, "the ping is taken", func() bool { return q.len() == 3 })
	g.stop()
	if s := g.Stats(); s.Messages[Taken] != 1 || s.Messages[Refused] != 0 {
		t.Errorf("counts %v", s.Messages)
	}
}

// A queue that cannot be reached is a note in one sentence, until it can be.
func TestQueueThatIsNotThere(t *testing.T) {
	q, url := newQueue(t, pings(1)...)
	q.refusal = "QueueDoesNotExist"
	g := start(t, q, url, 0, 1<<20)
	eventually(t, "a note says so", func() bool { return len(g.Notes()) == 1 })
	if note := g.Notes()[0]; !strings.Contains(note, "QueueDoesNotExist") || !strings.Contains(note, "make the queue") || strings.Contains(note, "\n") || g.Stats().Connected {
		t.Errorf("note %q", note)
	}
	q.do(func() { q.refusal = "" })
	eventually(t, "the message is taken", func() bool { return q.len() == 0 })
	eventually(t, "the note is gone", func() bool { return len(g.Notes()) == 0 && g.Stats().Connected })
}

// Before any message is taken an operator is told whether the queue is there and may be read; no
// message is received for it.
func TestTry(t *testing.T) {
	q, url := newQueue(t, pings(3)...)
	in := &Inlet{URL: url}
	for _, tt := range []struct{ code, of, what, remedy string }{
		{"", "", "reachable, read", ""},
		{"QueueDoesNotExist", "", "reachable", "make the queue, or name another"},
		{"InvalidClientTokenId", "", "reachable", "AWS_ACCESS_KEY_ID"},
		{"AccessDenied", "ReceiveMessage", "reachable, read", "allow it in the policy"},
		{"AccessDenied", "DeleteMessageBatch", "reachable, read", "allow it in the policy"},
	} {
		q.do(func() { q.refusal, q.refused = tt.code, tt.of })
		var what []string
		list := in.Try(t.Context())
		for _, f := range list {
			what = append(what, f.What)
		}
		last := list[len(list)-1]
		if strings.Join(what, ", ") != tt.what || !strings.Contains(last.Remedy, tt.remedy) || (last.Remedy == "") != (tt.remedy == "") || !strings.Contains(last.Found, tt.code) {
			t.Errorf("%s of %s: %+v", tt.code, tt.of, list)
		}
	}
	q.do(func() {
		for id, m := range q.list {
			if m.receives > 0 {
				t.Errorf("%s was received", id)
			}
		}
	})
	dead := &Inlet{URL: "sqs+http://127.0.0.1:1/pings"}
	if list := dead.Try(t.Context()); len(list) != 1 || list[0].Remedy == "" || strings.Contains(fmt.Sprint(list), "hunter2") {
		t.Errorf("%+v", list)
	}
}

func TestSettings(t *testing.T) {
	for url, want := range map[string]string{
		"": "", "sqs://eu-central-1/pings": "", "sqs+http://localhost:9324/pings?pollers=8&visibility=1m": "",
		"sqs://eu-central-1/pings?pollers=0": "pollers=0 is not in", "sqs://eu-central-1/pings?visibility=1s": "visibility=1s is not in",
		"sqs://eu-central-1/pings?wait=1": "option \"wait\"", "kafka://x/y": "is not of the form",
	} {
		at, err := (&Inlet{URL: url}).Check()
		if want == "" && err != nil || want != "" && (err == nil || at != "sqs-in" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v, want %q", url, at, err, want)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(`{"Type":"Notification","TopicArn":"arn:x","Message":"{}"}`))
	f.Add([]byte(`{"Type":"Notification","TopicArn":"","Message":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if got := unwrap(body); len(got) > 3*len(body) || !bytes.Contains(body, []byte("TopicArn")) && !bytes.Equal(got, body) {
			t.Errorf("%q becomes %q", body, got)
		}
	})
}
