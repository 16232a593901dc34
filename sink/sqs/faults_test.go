package sqs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// fake is a server that answers in SQS's form, for faults that ElasticMQ cannot show. It returns
// the URL of its only queue.
func fake(t *testing.T, answer func(w http.ResponseWriter, operation string, body []byte)) string {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2-of-a-test")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a request: %v", err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		answer(w, operation, body)
	}))
	t.Cleanup(server.Close)
	return "sqs+" + server.URL + "/pings"
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": text})
}

// batch is a request, as far as it is looked at here.
type batch struct {
	Entries []struct {
		ID          string `json:"Id"`
		MessageBody string
	}
}

// picky takes messages in batches, but for those that fault names.
type picky struct {
	t     *testing.T
	fault func(rider string, sent int) (code string, sender bool) // "": taken
	sent  map[string]int                                          // by rider, how often it came
	taken []string                                                // riders, in order
}

func (p *picky) answer(w http.ResponseWriter, operation string, body []byte) {
	if operation == "GetQueueUrl" {
		fmt.Fprint(w, `{"QueueUrl":"http://x/0/pings"}`)
		return
	}
	var in batch
	if err := json.Unmarshal(body, &in); err != nil || operation != "SendMessageBatch" {
		p.t.Errorf("%s: %v", operation, err)
	}
	type entry map[string]any
	ok, no := []entry{}, []entry{}
	for _, e := range in.Entries {
		var b struct {
			Rider string `json:"rider_id"`
		}
		if err := json.Unmarshal([]byte(e.MessageBody), &b); err != nil {
			p.t.Error(err)
		}
		p.sent[b.Rider]++
		code, sender := p.fault(b.Rider, p.sent[b.Rider])
		if code == "" {
			p.taken = append(p.taken, b.Rider)
			ok = append(ok, entry{"Id": e.ID, "MessageId": "m"})
		} else {
			no = append(no, entry{"Id": e.ID, "Code": code, "SenderFault": sender, "Message": "for a test"})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string][]entry{"Successful": ok, "Failed": no})
}

// fleet returns n pings, each of a rider of its own, as rows.
func fleet(q *Inbox, n int) (riders []string, rows store.Rows) {
	for i, e := range storetest.Fleet(1, n) {
		e.Rider = fmt.Sprintf("r-%03d", i)
		riders = append(riders, e.Rider)
		rows.Bytes = q.AppendRow(rows.Bytes, &e)
		rows.N++
	}
	return riders, rows
}

func newPicky(t *testing.T, fault func(rider string, sent int) (string, bool)) (*picky, *Inbox) {
	p := &picky{t: t, fault: fault, sent: make(map[string]int)}
	return p, open(t, fake(t, p.answer))
}

// once checks that the server took each rider once.
func (p *picky) once(riders []string) {
	p.t.Helper()
	slices.Sort(p.taken)
	if !slices.Equal(p.taken, riders) {
		p.t.Errorf("it took %d messages, want %d: %v", len(p.taken), len(riders), p.taken)
	}
}

// Messages that a request did not take are sent again alone, and no other is.
func TestPartOfABatchIsSentAgain(t *testing.T) {
	p, q := newPicky(t, func(rider string, sent int) (string, bool) {
		if rider == "r-003" && sent < 3 {
			return "InternalError", false
		}
		return "", false
	})
	riders, rows := fleet(q, 10)
	if err := q.Write(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	p.once(riders)
	if p.sent["r-003"] != 3 || p.sent["r-004"] != 1 {
		t.Errorf("sent %v", p.sent)
	}
}

// A fault of the sender is a bad row, which is named. When the sink writes the others again,
// none is sent twice.
func TestFaultOfTheSender(t *testing.T) {
	p, q := newPicky(t, func(rider string, _ int) (string, bool) {
		return map[string]string{"r-007": "InvalidMessageContents"}[rider], true
	})
	riders, rows := fleet(q, 10)
	why := new(store.Refusal)
	if err := q.Write(t.Context(), rows); !errors.As(err, &why) || why.Kind != store.BadRows || why.Reason != store.Unparsable || !slices.Equal(why.Suspects, []int{7}) || why.All {
		t.Fatalf("%v: %+v", err, why)
	}
	part := func(keep func(i int) bool) (part store.Rows) {
		for i, e := range storetest.Fleet(1, 10) {
			if e.Rider = riders[i]; keep(i) {
				part.Bytes = q.AppendRow(part.Bytes, &e)
				part.N++
			}
		}
		return part
	}
	if err := q.Write(t.Context(), part(func(i int) bool { return i == 7 })); !errors.As(err, &why) || !why.All {
		t.Errorf("alone: %v: %+v", err, why)
	}
	others := part(func(i int) bool { return i != 7 })
	if err := q.Write(t.Context(), others); err != nil {
		t.Error(err)
	}
	p.once(slices.DeleteFunc(slices.Clone(riders), func(r string) bool { return r == "r-007" }))
	if err := q.Write(t.Context(), others); err != nil || p.sent["r-000"] != 2 || len(q.sent) != 0 {
		t.Errorf("a later write: %v, sent %v, %d remembered", err, p.sent, len(q.sent))
	}
}

// While SQS does not take a message the write is tried again, and what it took is not sent
// again.
func TestRestOfAWriteComesLater(t *testing.T) {
	well := false
	p, q := newPicky(t, func(rider string, _ int) (string, bool) {
		if !well && rider >= "r-005" {
			return "RequestThrottled", true
		}
		return "", false
	})
	riders, rows := fleet(q, 10)
	why := new(store.Refusal)
	if err := q.Write(t.Context(), rows); !errors.As(err, &why) || why.Kind != store.Retry || !why.Busy {
		t.Fatalf("%v: %+v", err, why)
	}
	well = true
	if err := q.Write(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	p.once(riders)
}

// A request that is refused for a content that it does not name is taken apart.
func TestRequestWithABadMessage(t *testing.T) {
	p := &picky{t: t, sent: make(map[string]int), fault: func(string, int) (string, bool) { return "", false }}
	q := open(t, fake(t, func(w http.ResponseWriter, operation string, body []byte) {
		if strings.Contains(string(body), "r-002") {
			refuse(w, http.StatusBadRequest, "InvalidMessageContents", "The message contains characters outside the allowed set.")
			return
		}
		p.answer(w, operation, body)
	}))
	_, rows := fleet(q, 5)
	why := new(store.Refusal)
	if err := q.Write(t.Context(), rows); !errors.As(err, &why) || why.Kind != store.BadRows || !slices.Equal(why.Suspects, []int{2}) {
		t.Fatalf("%v: %+v", err, why)
	}
	p.once([]string{"r-000", "r-001", "r-003", "r-004"})
}

// Of a row that comes twice with different content the last content is sent last, though a part
// of a request failed.
func TestLastContentIsSentLast(t *testing.T) {
	var taken []string
	failed := false
	url := fake(t, func(w http.ResponseWriter, operation string, body []byte) {
		if operation == "GetQueueUrl" {
			fmt.Fprint(w, `{"QueueUrl":"http://x/0/pings.fifo"}`)
			return
		}
		var in batch
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		type entry map[string]any
		ok, no := []entry{}, []entry{}
		for _, e := range in.Entries {
			var b struct {
				Trip string `json:"trip_id"`
			}
			if err := json.Unmarshal([]byte(e.MessageBody), &b); err != nil {
				t.Error(err)
			}
			if b.Trip == "first" && !failed {
				failed = true
				no = append(no, entry{"Id": e.ID, "Code": "InternalError"})
				continue
			}
			taken = append(taken, b.Trip)
			ok = append(ok, entry{"Id": e.ID, "MessageId": "m"})
		}
		_ = json.NewEncoder(w).Encode(map[string][]entry{"Successful": ok, "Failed": no})
	})
	q := open(t, url+".fifo")
	e := storetest.Fleet(1, 1)[0]
	var rows store.Rows
	for _, e.Trip = range []string{"first", "last"} {
		rows.Bytes = q.AppendRow(rows.Bytes, &e)
		rows.N++
	}
	if err := q.Write(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(taken, []string{"first", "last"}) {
		t.Errorf("taken are %q", taken)
	}
}

// Each answer of a server says how to go on, in a line, without a secret.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status     int
		code, text string
		kind       store.Kind
		reason     string
	}{
		{403, "InvalidClientTokenId", "The security token included in the request is invalid.", store.Configure, store.Credentials},
		{403, "SignatureDoesNotMatch", "The signature does not match.\nThe String-to-Sign was hunter2-token", store.Configure, store.Credentials},
		{400, "ExpiredToken", "expired", store.Configure, store.Credentials},
		{403, "AccessDenied", "not authorized", store.Configure, store.Rights},
		{400, "KmsAccessDenied", "no key", store.Configure, store.Rights},
		{400, "QueueDoesNotExist", "The specified queue does not exist.", store.Configure, store.Missing},
		{400, "UnsupportedOperation", "no", store.Configure, store.Address},
		{404, "NoSuchThing", "<html>", store.Configure, store.Address},
		{400, "RequestThrottled", "slower", store.Retry, ""},
		{503, "ServiceUnavailable", "later", store.Retry, ""},
		{500, "InternalFailure", "oops", store.Retry, ""},
	} {
		t.Run(tt.code, func(t *testing.T) {
			q := open(t, fake(t, func(w http.ResponseWriter, _ string, _ []byte) { refuse(w, tt.status, tt.code, tt.text) }))
			why := new(store.Refusal)
			if err := q.Write(t.Context(), store.Rows{}); !errors.As(err, &why) || why.Kind != tt.kind || why.Reason != tt.reason || (why.Advice == "") != (tt.reason == "") {
				t.Fatalf("%v: %+v", err, why)
			}
			if text := why.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "\n") || !strings.Contains(text, tt.code) {
				t.Errorf("it says %q", text)
			}
		})
	}
}

// The ids of rows that are the same are the same, and of no others.
func TestIDs(t *testing.T) {
	e := storetest.Fleet(1, 1)[0]
	e.Rider, e.Device = "a", "b"
	same := e
	same.Skipped, same.Speed, same.Known, same.Trip = e.Skipped+1, 7, e.Known^pingline.HasSpeed, "another"
	if idOf(&e) != idOf(&same) {
		t.Error("another content makes another id")
	}
	seen := map[string]string{idOf(&e): "the first"}
	for name, change := range map[string]func(e *pingline.Entry){
		"rider": func(e *pingline.Entry) { e.Rider = "b" }, "time": func(e *pingline.Entry) { e.At++ }, "cell": func(e *pingline.Entry) { e.Cell++ },
		"device": func(e *pingline.Entry) { e.Device += "x" }, "late": func(e *pingline.Entry) { e.Late = !e.Late },
		"corrected": func(e *pingline.Entry) { e.Corrected = !e.Corrected }, "apart": func(e *pingline.Entry) { e.Apart = !e.Apart },
		"rider and device": func(e *pingline.Entry) { e.Rider, e.Device = "a"+e.Device, "" },
	} {
		c := e
		if change(&c); seen[idOf(&c)] != "" {
			t.Errorf("the id of another %s is that of %s", name, seen[idOf(&c)])
		}
		seen[idOf(&c)] = name
	}
}

// A body is JSON that has what the entry has, whatever the characters of its names.
func TestBodies(t *testing.T) {
	for _, id := range []string{`a "b"`, "李小龍", "\ufffe\uffff", "🚕", "plain"} {
		e := storetest.Fleet(2, 1)[0]
		e.Rider, e.Known, e.Altitude = id, pingline.HasAltitude, -12.5
		e.LatE7, e.LonE7 = 411_578_129, -86_291_051
		list, err := messages(appendRow(nil, &e), 1)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID       string
			Rider    string `json:"rider_id"`
			TS       int64
			Lat, Lon json.Number
			Altitude *float32
			Speed    *float32
			Cell     string
		}
		if err := json.Unmarshal([]byte(list[0].body), &got); err != nil {
			t.Fatalf("%s: %v", list[0].body, err)
		}
		if got.ID != list[0].id || got.Rider != id || got.TS != e.At || got.Lat != "41.1578129" || got.Lon != "-8.6291051" || got.Altitude == nil || *got.Altitude != -12.5 || got.Speed != nil || got.Cell == "" {
			t.Errorf("body %s", list[0].body)
		}
		if g := list[0].group; len(g) > 128 || strings.ContainsFunc(g, func(c rune) bool { return c <= ' ' || c > '~' }) || (id == "plain") != (g == id) {
			t.Errorf("group %q of %q", g, id)
		}
		if strings.ContainsAny(list[0].body, "\ufffe\uffff") {
			t.Errorf("a message may not have the characters of %q", list[0].body)
		}
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"sqs://eu-central-1/pings": "", "sqs://eu-central-1/123456789012/pings.fifo": "", "sqs+http://localhost:9324/pings": "", "sqs+https://sqs.example/pings?region=eu-west-1": "",
		"sqs://eu-central-1": "is not of the form", "sqs:///pings": "is not of the form", "sqs://AKIA:hunter2@eu-central-1/pings": "has a user in it",
		"sqs://AKIA:1/hunter2@eu-central-1/pings": "has a user in it",
		"sqs://eu-central-1/a b":                  "is no name of a queue", "sqs://eu-central-1/x/pings": "is no account", "sqs://Frankfurt/pings": "is no region",
		"sqs+http://localhost/pings?pack=3": "option \"pack\"", "sqs://eu-central-1/1/2/pings": "is not of the form",
	} {
		_, err := New(Config{URL: url})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func FuzzRows(f *testing.F) {
	for _, e := range storetest.Fleet(1, 3) {
		f.Add(appendRow(nil, &e))
	}
	f.Fuzz(func(t *testing.T, rows []byte) {
		list, err := messages(rows, 1)
		if err != nil {
			return
		}
		if !json.Valid([]byte(list[0].body)) {
			t.Errorf("body %q", list[0].body)
		}
	})
}
