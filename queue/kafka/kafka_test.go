package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"pingline/queue/driver"
	"pingline/queue/record"
)

const patience = 5 * time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// fake returns the URL of a Kafka in this process.
func fake(t testing.TB) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return "kafka://" + c.ListenAddrs()[0]
}

// session opens a session with the log of a URL.
func session(t testing.TB, url string) *LogSession {
	t.Helper()
	s, err := Connect(Config{URL: url, Stream: "TEST"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func encoded(epoch, number uint64, text string) []byte {
	return record.Encode(&record.Record{Epoch: epoch, Number: number, Payload: []byte(text)})
}

func admin(s *LogSession) *kadm.Client { return kadm.NewClient(s.append) }

func put(t testing.TB, s *LogSession, epoch, number uint64, text string) {
	t.Helper()
	if err := s.Put(testContext(t), patience, encoded(epoch, number, text), 0, s.known.Last); err != nil {
		t.Fatalf("Put of record %d of epoch %d: %v", number, epoch, err)
	}
}

// land appends a message behind the session's back, as one that was on its way does.
func land(t testing.TB, s *LogSession, b []byte) {
	t.Helper()
	key := binary.LittleEndian.AppendUint64(nil, uint64(s.known.Bytes))
	if _, err := s.log.produce(testContext(t), patience, key, b); err != nil {
		t.Fatal(err)
	}
}

// texts returns what a new session reads.
func texts(t testing.TB, url string) (list []string) {
	t.Helper()
	s := session(t, url)
	got, err := s.Fetch(testContext(t), 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range got {
		rec, err := record.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(rec.Payload))
	}
	return list
}

func want(t testing.TB, url string, text string) {
	t.Helper()
	if got := strings.Join(texts(t, url), " "); got != text {
		t.Fatalf("the log has %q, want %q", got, text)
	}
}

func TestLateAppends(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, url string, a *LogSession){
		"a straggler of the owner before": func(t *testing.T, url string, a *LogSession) {
			b := session(t, url)
			put(t, b, 2, 3, "claim")
			land(t, a, encoded(1, 3, "late"))
			land(t, a, encoded(1, 4, "later"))
			put(t, b, 2, 4, "c")
			want(t, url, "a b claim c")
		},
		"the owner before appends": func(t *testing.T, url string, a *LogSession) {
			b := session(t, url)
			put(t, b, 2, 3, "claim")
			if err := a.Put(testContext(t), patience, encoded(1, 3, "late"), 0, 2); !errors.Is(err, driver.ErrGoneOn) {
				t.Fatalf("Put of the owner before: %v", err)
			}
			if at, err := a.Bounds(testContext(t)); err != nil || at.Epoch != 2 || at.LastSeq != 3 {
				t.Fatalf("Bounds = %+v, %v", at, err)
			}
			want(t, url, "a b claim")
		},
		"an append that beats the claim": func(t *testing.T, url string, a *LogSession) {
			b := session(t, url)
			put(t, a, 1, 3, "c")
			if err := b.Put(testContext(t), patience, encoded(2, 3, "claim"), 0, 2); !errors.Is(err, driver.ErrGoneOn) {
				t.Fatalf("a claim with a number that is taken: %v", err)
			}
			// It counts for nothing, and fences all the same.
			if err := a.Put(testContext(t), patience, encoded(1, 4, "d"), 0, 3); !errors.Is(err, driver.ErrGoneOn) {
				t.Fatalf("Put behind a claim: %v", err)
			}
			put(t, b, 2, 4, "claim")
			want(t, url, "a b c claim")
		},
		"an append that was settled lands": func(t *testing.T, url string, a *LogSession) {
			put(t, a, 1, 3, "settled")
			land(t, a, encoded(1, 3, "unclear"))
			put(t, a, 1, 4, "d")
			want(t, url, "a b settled d")
		},
		"an append lands before it is settled": func(t *testing.T, url string, a *LogSession) {
			land(t, a, encoded(1, 3, "unclear"))
			if err := a.Put(testContext(t), patience, encoded(1, 3, "settled"), 0, 2); !errors.Is(err, driver.ErrGoneOn) {
				t.Fatalf("Put of a number that is taken: %v", err)
			}
			put(t, a, 1, 4, "settled")
			want(t, url, "a b unclear settled")
		},
		"an append lands twice": func(t *testing.T, url string, a *LogSession) {
			land(t, a, encoded(1, 3, "c"))
			put(t, a, 1, 3, "c") // the copy: the first is ours
			put(t, a, 1, 4, "d")
			land(t, a, encoded(1, 4, "d"))
			put(t, a, 1, 5, "e")
			want(t, url, "a b c d e")
		},
		"messages of others": func(t *testing.T, url string, a *LogSession) {
			land(t, a, []byte("hello"))
			land(t, a, nil)
			put(t, a, 1, 3, "c")
			want(t, url, "a b c")
		},
		"numbers that were lost": func(t *testing.T, url string, a *LogSession) {
			put(t, a, 1, 9, "i")
			put(t, a, 1, 10, "j")
			want(t, url, "a b i j")
			if at, _ := a.Bounds(testContext(t)); at.LastSeq != 4 {
				t.Errorf("the log ends at sequence %d", at.LastSeq)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := fake(t)
			a := session(t, url)
			put(t, a, 1, 1, "a")
			put(t, a, 1, 2, "b")
			test(t, url, a)
		})
	}
}

func TestNewerRecord(t *testing.T) {
	url := fake(t)
	a := session(t, url)
	put(t, a, 1, 1, "a")
	b := encoded(1, 2, "b")
	b[0] = record.Version + 1
	land(t, a, b)
	s, err := Connect(Config{URL: url, Stream: "TEST"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ready(testContext(t)); !errors.Is(err, record.ErrNewer) {
		t.Errorf("a log with a record of a newer version: %v", err)
	}
}

// All sessions judge alike: those that were there, a new one, and one that begins at an anchor.
func TestAnchors(t *testing.T) {
	url := fake(t)
	a := session(t, url)
	epoch, number := uint64(1), uint64(0)
	for range 300 {
		switch e := epoch; rand.IntN(6) {
		case 0: // a straggler
			land(t, a, encoded(e-uint64(rand.IntN(2)), number, "void"))
			if _, err := a.Bounds(testContext(t)); err != nil {
				t.Fatal(err)
			}
		case 1:
			epoch++
		}
		number++
		put(t, a, epoch, number, fmt.Sprint(number))
	}
	if err := a.Purge(testContext(t), 120); err != nil {
		t.Fatal(err)
	}
	list, err := a.Fetch(testContext(t), 1, 1<<20)
	if err != nil || len(list) != 181 {
		t.Fatalf("Fetch = %d records, %v", len(list), err)
	}
	fresh := session(t, url)
	a.Close() // leaves an anchor
	anchored, err := Connect(Config{URL: url, Stream: "TEST"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(anchored.Close)
	if err := anchored.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if anchored.anchors.bytes != a.known.Bytes {
		t.Errorf("the anchor of %d bytes was not used: %d", a.known.Bytes, anchored.anchors.bytes)
	}
	for name, s := range map[string]*LogSession{"without the anchor": fresh, "from the anchor": anchored} {
		if !reflect.DeepEqual(s.known, a.known) {
			t.Errorf("%s: %+v\nwant %+v", name, s.known, a.known)
		}
	}
	// An anchor of a log that has lost its end is not used.
	if err := anchored.log.trim(testContext(t), anchored.known.Next); err != nil {
		t.Fatal(err)
	}
	if end := session(t, url); !end.known.empty() {
		t.Errorf("of a log without records %d are known", end.known.Last-end.known.First+1)
	}
}

func TestRegister(t *testing.T) {
	url := fake(t)
	var wg sync.WaitGroup
	const nodes, each = 4, 100
	for range nodes {
		r, err := session(t, url).Register(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		r.(*register).tidy = 48 // of 100: it is tidied while others save
		wg.Go(func() {
			for done := 0; done < each; {
				value, rev, err := r.Load(testContext(t))
				if err == nil {
					var next uint64
					if len(value) == 8 {
						next = binary.LittleEndian.Uint64(value)
					}
					_, err = r.Save(testContext(t), binary.LittleEndian.AppendUint64(nil, next+1), rev)
				}
				switch {
				case err == nil:
					done++
				case !errors.Is(err, driver.ErrChanged):
					t.Errorf("Save: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	late := session(t, url)
	r, err := late.Register(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if start, err := r.(*register).at.find(testContext(t), atStart); err != nil || start == 0 {
		t.Errorf("the values begin at offset %d, %v: none was deleted", start, err)
	}
	value, rev, err := r.Load(testContext(t))
	if err != nil || len(value) != 8 || binary.LittleEndian.Uint64(value) != nodes*each {
		t.Fatalf("Load = %v, %d, %v, want %d", value, rev, err, nodes*each)
	}
	if _, err := r.Save(testContext(t), []byte("stale"), rev-1); !errors.Is(err, driver.ErrChanged) {
		t.Errorf("Save in place of an old revision: %v", err)
	}
	if _, err := r.Save(testContext(t), []byte("new"), 0); !errors.Is(err, driver.ErrChanged) {
		t.Errorf("Save in place of nothing: %v", err)
	}
}

func TestFiles(t *testing.T) {
	url := fake(t)
	s := session(t, url)
	store, err := s.Files(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sizes := map[string]int{"empty": 0, "small": 10, "piece": pieceBytes, "large": 3*pieceBytes + 1}
	data := map[string][]byte{}
	for name, size := range sizes {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rand.Int())
		}
		data[name] = b
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second in place of the first
			if err := store.Put(testContext(t), name, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A file that was not written to its end.
	if _, err := store.(*files).pieces.produce(testContext(t), patience, []byte("orphan"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	proofs := 0
	proof := func() error { proofs++; return nil }
	if err := store.Clean(testContext(t), proof); err != nil || proofs != 1 {
		t.Fatalf("Clean: %v, %d proofs", err, proofs)
	}
	other, err := session(t, url).Files(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range data {
		var got bytes.Buffer
		if err := other.Get(testContext(t), name, &got); err != nil || !bytes.Equal(got.Bytes(), b) {
			t.Errorf("Get of %s: %d bytes of %d, %v", name, got.Len(), len(b), err)
		}
		if err := store.Remove(testContext(t), name); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := other.Names(testContext(t)); err != nil || len(names) > 0 {
		t.Errorf("Names = %v, %v", names, err)
	}
	if err := other.Get(testContext(t), "small", new(bytes.Buffer)); !errors.Is(err, driver.ErrBroken) {
		t.Errorf("Get of a file that is gone: %v", err)
	}
	if err := store.Clean(testContext(t), func() error { return errors.New("not ours") }); err == nil {
		t.Error("Clean without a proof")
	}
	if err := store.Clean(testContext(t), proof); err != nil {
		t.Fatal(err)
	}
	at := store.(*files).pieces
	start, _ := at.find(testContext(t), atStart)
	end, _ := at.find(testContext(t), atEnd)
	if start != end {
		t.Errorf("without files there are pieces from %d to %d", start, end)
	}
}

func TestURL(t *testing.T) {
	for url, want := range map[string]string{
		"kafka://a,b:9093": "a:9092,b:9093",
		"kafkas://me@a?password-file=/p&ca-file=/ca&sasl=scram-sha-256": "a:9092",
		"kafkas://a?cert-file=/c&key-file=/k":                           "a:9092",
		"kafka://a/topic":                                               "names no topic",
		"kafka://me:secret@a?password-file=/p":                          "has a password in it",
		"kafka://me@a":                                                  "has a user, and no ?password-file",
		"kafka://a?password-file=/p":                                    "no user before an @",
		"kafka://a?ca-file=/ca":                                         "write kafkas:// for kafka://",
		"kafkas://a?cert-file=/c":                                       "only one of cert-file and key-file",
		"kafka://":                                                      "is not of the form",
		"kafka://a?acks=0":                                              "no option",
	} {
		got, err := Servers(url)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// A topic of the log's name that Kafka would delete from, or lose the end of, is set right.
func TestTopicIsSetRight(t *testing.T) {
	url := fake(t)
	s := session(t, url)
	if _, err := alter(testContext(t), admin(s), s.topics.log, nil, map[string]string{"retention.ms": "1000", "cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	session(t, url)
	told, err := admin(s).DescribeTopicConfigs(testContext(t), s.topics.log)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, c := range told[0].Configs {
		have[c.Key] = c.MaybeValue()
	}
	for key, value := range must {
		if have[key] != value {
			t.Errorf("%s is %q, want %q", key, have[key], value)
		}
	}
}

// A topic that was deleted and made anew is not taken for the log.
func TestTopicIsMadeAnew(t *testing.T) {
	url := fake(t)
	s := session(t, url)
	put(t, s, 1, 1, "a")
	if _, err := admin(s).DeleteTopic(testContext(t), s.topics.log); err != nil {
		t.Fatal(err)
	}
	session(t, url)
	if err := s.Put(testContext(t), patience, encoded(1, 2, "b"), 0, 1); err == nil {
		t.Error("an append to another topic is acknowledged")
	}
	want(t, url, "")
}

// Settings that somebody changes while a log is open are set right, and told of; a topic that is deleted is not made
// anew by that.
func TestSettingsStayRight(t *testing.T) {
	s := session(t, fake(t))
	if s.lookAtSettings(); strings.Contains(s.Warning(), "somebody") {
		t.Errorf("nobody has changed anything: %s", s.Warning())
	}
	for _, topic := range []string{s.topics.log, s.topics.state} {
		if _, err := alter(testContext(t), admin(s), topic, nil, map[string]string{"retention.ms": "1000"}); err != nil {
			t.Fatal(err)
		}
	}
	s.lookAtSettings()
	for _, topic := range []string{s.topics.log, s.topics.state} {
		told, err := admin(s).DescribeTopicConfigs(testContext(t), topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range told[0].Configs {
			if c.Key == "retention.ms" && c.MaybeValue() != "-1" {
				t.Errorf("retention.ms of %s is %s", topic, c.MaybeValue())
			}
		}
		if text := s.Warning(); !strings.Contains(text, "retention.ms of topic "+topic) {
			t.Errorf("Warning: %q", text)
		}
	}
	if _, err := admin(s).DeleteTopic(testContext(t), s.topics.log); err != nil {
		t.Fatal(err)
	}
	s.lookAtSettings()
	if list, err := admin(s).ListTopics(testContext(t)); err != nil || list.Has(s.topics.log) {
		t.Errorf("a topic that was deleted is there again: %v", err)
	}
}
