package node

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/secretbox"

	"pingline"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/internal/influxd"
)

// ownTracks is the app as it sends in HTTP mode: a message a request, in order, and the head
// of its queue until it is answered 2xx (owntracks/android: MessageProcessor.kt).
type ownTracks struct {
	t        *testing.T
	url      string
	user     string
	password string
	attempts []string // answers to the head of the queue: a status, or "none"
}

// post sends a message once, and returns whether it may be forgotten.
func (o *ownTracks) post(message string) bool {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), http.MethodPost, o.url, strings.NewReader(message))
	if err != nil {
		o.t.Fatal(err)
	}
	req.SetBasicAuth(o.user, o.password)
	req.Header.Set("X-Limit-U", o.user)
	req.Header.Set("X-Limit-D", "pixel")
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		o.attempts = append(o.attempts, "none")
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	o.attempts = append(o.attempts, fmt.Sprint(resp.StatusCode))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return false
	}
	if string(body) != "[]" || resp.Header.Get("Content-Type") != "application/json" { // released versions repeat for ever on {}
		o.t.Errorf("%s is answered %s as %s", message, body, resp.Header.Get("Content-Type"))
	}
	return true
}

// deliver sends a message until it may be forgotten, and returns the answers. Before each
// attempt it calls next with the answers until then.
func (o *ownTracks) deliver(message string, next func(answers []string)) []string {
	o.t.Helper()
	o.attempts = nil
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if next != nil {
			next(o.attempts)
		}
		if o.post(message) {
			return o.attempts
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%s is never taken: %v", message, o.attempts)
		}
	}
}

// lossy stands before a node. It takes requests to it, and may keep the answers.
type lossy struct {
	*httptest.Server
	to      atomic.Pointer[url.URL] // nil: nothing is there
	swallow atomic.Bool             // answers are lost
}

func newLossy(t *testing.T) *lossy {
	l := &lossy{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(l.to.Load()) },
		ModifyResponse: func(resp *http.Response) error {
			if l.swallow.Load() {
				_, _ = io.Copy(io.Discard, resp.Body)
				return errors.New("lost on the way")
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.to.Load() == nil {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *lossy) lead(t *testing.T, n *driven) {
	t.Helper()
	to, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	l.to.Store(to)
}

// An app whose key is not known yet, then one whose server is overloaded, loses answers, and
// is away and starts again, has each of its fixes stored once, in spite of messages between
// them that are no fix, or are broken.
func TestOwnTracksQueue(t *testing.T) {
	const fixes = 40
	store := influxd.RunTest(t)
	keys := keysFile(t, auth.KeyRow{Name: "zoe", Scopes: []string{"write"}, Riders: []string{"zoe"}})
	secret, hash := auth.NewSecret()
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("ana correct-horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path})
	cfg.Influx.Host, cfg.Secrets, cfg.ShedHold, cfg.BatchWait = store.URL(), secrets, time.Hour, 50*time.Millisecond
	cfg.Bound.MaxError, cfg.Bound.AccuracyCap = 0, 0 // only copies are dropped
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := store.CreateBucket(t.Context(), cfg.Influx.Bucket, 0); err != nil {
		t.Fatal(err)
	}
	front := newLossy(t)
	n := drive(t, cfg)
	front.lead(t, n)
	app := ownTracks{t: t, url: front.URL + "/v1/owntracks", user: "ana", password: secret}

	began := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	position := func(i int) [2]string {
		return [2]string{fmt.Sprintf("%.4f", 41+float64(i)/1000), fmt.Sprintf("%.4f", -8-float64(i*i%7)/1000)}
	}
	message := func(i int) string {
		return fmt.Sprintf(`{"_type":"location","_id":"%08x","acc":5,"batt":80,"created_at":%d,"lat":%s,"lon":%s,"tid":"an","topic":"owntracks/ana/pixel","tst":%d,"vel":18}`,
			i, began.Unix()+int64(i)+1, position(i)[0], position(i)[1], began.Unix()+int64(i))
	}
	taken := map[string]float64{} // by verdict, of nodes that have stopped
	tally := func() {
		for _, verdict := range []string{"accepted", "duplicate", "rejected", "held", "redundant", "shed"} {
			taken[verdict] += n.metricsNow()[`pings_total{verdict="`+verdict+`"}`]
		}
	}
	for i := range fixes {
		var answers, want []string
		switch i {
		case 0: // the key is added after the app has tried
			answers = app.deliver(message(i), func(answers []string) {
				if len(answers) != 3 {
					return
				}
				row := auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}, Hash: hash}
				if err := auth.ChangeKeys(keys.path, func(rows []auth.KeyRow) ([]auth.KeyRow, error) { return append(rows, row), nil }); err != nil {
					t.Fatal(err)
				}
			})
			others := slices.DeleteFunc(slices.Clone(answers[3:]), func(a string) bool { return a == "401" || a == "429" }) // 429: too many wrong keys
			answers, want = append(answers[:3:3], others...), []string{"401", "401", "401", "200"}
		case 5: // overload
			n.over.Force(pingline.MaxLevel, false, "a test")
			answers = app.deliver(message(i), func(answers []string) {
				if len(answers) == 3 {
					n.over.Force(0, false, "")
				}
			})
			want = []string{"503", "503", "503", "200"}
		case 10, 11: // answers are lost
			front.swallow.Store(true)
			answers = app.deliver(message(i), func(answers []string) {
				if len(answers) == 2 {
					front.swallow.Store(false)
				}
			})
			want = []string{"none", "none", "200"}
		case 20: // an answer is lost, the server is away, and starts again
			front.swallow.Store(true)
			answers = app.deliver(message(i), func(answers []string) {
				switch len(answers) {
				case 1:
					front.to.Store(nil)
					front.swallow.Store(false)
					tally()
					n.stop()
				case 4:
					n = drive(t, cfg)
					front.lead(t, n)
				}
			})
			want = []string{"none", "none", "none", "none", "200"}
		case 30: // with encryption
			var nonce [24]byte
			var key [32]byte
			copy(key[:], "correct-horse")
			box := secretbox.Seal(nonce[:], []byte(message(i)), &nonce, &key)
			answers = app.deliver(`{"_type":"encrypted","data":"`+base64.StdEncoding.EncodeToString(box)+`"}`, nil)
			want = []string{"200"}
		default:
			answers, want = app.deliver(message(i), nil), []string{"200"}
		}
		if !slices.Equal(answers, want) {
			t.Errorf("fix %d is answered %v, want %v", i, answers, want)
		}
		if other := map[int]string{
			7: `{"_type":"transition","lat":50,"lon":8,"tst":1759999990,"event":"enter"}`, 12: "", 15: `{"_type":"location","lat":`, 25: `{"_type":"lwt","tst":1}`,
			31: `{"_type":"encrypted","data":"AAAA"}`,
		}; other[i] != "" || i == 12 {
			if answers := app.deliver(other[i], nil); !slices.Equal(answers, []string{"200"}) {
				t.Errorf("%s is answered %v", other[i], answers)
			}
		}
	}
	tally()
	if taken["accepted"] != fixes || taken["duplicate"] != 5 || taken["rejected"] != 1 || taken["held"]+taken["redundant"]+taken["shed"] != 0 {
		t.Errorf("verdicts %v, want %d accepted, 5 duplicates of lost answers, 1 rejected", taken, fixes)
	}
	var want []string
	for i := range fixes {
		lat, lon := strings.TrimRight(position(i)[0], ".0"), strings.TrimRight(position(i)[1], ".0")
		want = append(want, fmt.Sprintf("device=pixel,rider=ana accuracy=5,battery=0.8,lat=%s,lon=%s,speed=5 %d", lat, lon, (began.Unix()+int64(i))*1e9))
	}
	var got []string
	for deadline := time.Now().Add(2 * time.Minute); len(got) < fixes && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		points, err := store.Points(t.Context(), cfg.Influx.Bucket)
		if err != nil {
			t.Fatal(err)
		}
		got = got[:0]
		for _, p := range points {
			if cell, rest, ok := strings.Cut(p, ",device"); ok && strings.HasPrefix(cell, "location,cell=") {
				got = append(got, "device"+rest)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d points are stored:\n%s\nwant %d:\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
	}
	n.stop()
	for _, mine := range []string{secret, "correct-horse"} {
		if strings.Contains(log.String(), mine) {
			t.Errorf("the log has %q: %s", mine, &log)
		}
	}
	if !strings.Contains(log.String(), "encrypted by another secret") {
		t.Errorf("the log does not tell of the message that could not be opened: %s", &log)
	}
}
