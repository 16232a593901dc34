package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/ingest/privacy"
)

// here is a client, there is another.
var (
	here  = Client{netip.MustParseAddr("192.0.2.1"), 1}
	there = Client{netip.MustParseAddr("192.0.2.2"), 2}
)

func bearer(secret string) *Credentials {
	c := HeaderCredentials([]byte("Bearer " + secret))
	return &c
}

func reasonOf(err error) Cause {
	if e, ok := errors.AsType[*Denied](err); ok {
		return e.Cause
	}
	return ""
}

func TestCredentials(t *testing.T) {
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, tt := range []struct {
		header, secret, user string
		shown                bool
	}{
		{"", "", "", false},
		{"Bearer pl_x", "pl_x", "", true},
		{"bearer   pl_x ", "pl_x", "", true},
		{basic("bus-7:pl_x"), "pl_x", "bus-7", true},
		{basic(":pl_x"), "pl_x", "", true},
		{basic("a:b:c"), "b:c", "a", true},
		{basic("pl_x"), "", "", true},
		{"Token pl_x", "pl_x", "", true},
		{"token telegraf:pl_x", "pl_x", "telegraf", true},
		{"Token", "", "", true},
		{"Basic !", "", "", true},
		{"Basic pl_x-y:", "pl_x-y", "", true},
		{"Bearer", "", "", true},
		{"Digest pl_x", "", "", true},
		{"pl_x", "", "", true},
	} {
		c := HeaderCredentials([]byte(tt.header))
		if string(c.Secret) != tt.secret || string(c.User) != tt.user || c.Shown != tt.shown {
			t.Errorf("%q: %q of %q, %v", tt.header, c.Secret, c.User, c.Shown)
		}
	}
	if c := PlainCredentials([]byte("pl_x")); string(c.Secret) != "pl_x" || !c.Shown {
		t.Errorf("%+v", c)
	}
	if PlainCredentials(nil).Shown {
		t.Error("no key counts as shown")
	}
}

func TestGate(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "keys"), time.Now()
	right := addKey(t, path, KeyRow{Name: "right", Riders: []string{"ana"}, Scopes: []string{"read"}})
	expired := addKey(t, path, KeyRow{Name: "expired", Riders: []string{"ana"}, Expires: now})
	revoked := addKey(t, path, KeyRow{Name: "revoked", Riders: []string{"ana"}, Revoked: now})
	var log bytes.Buffer
	var failed []Cause
	keys := opened(t, path, nil)
	g := NewGate(Config{
		Keys: keys, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Failed: func(e *Denied, _ netip.Addr) { failed = append(failed, e.Cause) },
	})
	for i, tt := range []struct {
		name string
		c    *Credentials
		why  Cause
		key  string
	}{
		{"nothing", &Credentials{}, Missing, ""},
		{"a key that is not known", bearer("pl_no"), Unknown, ""},
		{"nothing readable", bearer(""), Unknown, ""},
		{"a token, and only keys are taken", bearer("a.b.c"), Unknown, ""},
		{"an expired key", bearer(expired), Expired, "expired"},
		{"a revoked key", bearer(revoked), Revoked, "revoked"},
		{"the right key", bearer(right), "", "right"},
	} {
		now = now.Add(2 * time.Second) // each refusal has its line
		id, err := g.Enter(tt.c, here, now)
		if reasonOf(err) != tt.why || tt.why == "" && id.Name != tt.key || tt.why != "" && id != nil {
			t.Errorf("%s: %+v, %v; want %s", tt.name, id, err, tt.why)
		}
		if e, ok := errors.AsType[*Denied](err); ok && (e.Name != tt.key || e.Forbidden() || g.Stats()[tt.why] == 0 || failed[i] != tt.why) {
			t.Errorf("%s: %+v, counts %v, told %v", tt.name, e, g.Stats(), failed)
		}
	}
	id, _ := g.Enter(bearer(right), here, now)
	for _, tt := range []struct {
		err error
		why Cause
	}{
		{g.NeedScope(id, Read, false, here, now), ""},
		{g.NeedScope(id, Read, true, here, now), NotRider},
		{g.NeedScope(id, Write, false, here, now), NoScope},
		{g.NeedScope(id, Admin, false, here, now), NoScope},
		{g.NeedRider(id, "ana", here, now), ""},
		{g.NeedRider(id, "ben", here, now), NotRider},
		{g.NeedScope(new(Identity), Read, false, here, now), NoScope},
		{g.NeedRider(new(Identity), "ana", here, now), NotRider},
		{g.NeedScope(Anyone, Read|Write|Admin, true, here, now), ""},
	} {
		if e, ok := errors.AsType[*Denied](tt.err); reasonOf(tt.err) != tt.why || ok && !e.Forbidden() {
			t.Errorf("%v, want %q", tt.err, tt.why)
		}
	}
	for _, secret := range []string{right, expired, revoked, "pl_no"} {
		if strings.Contains(log.String(), secret) {
			t.Error("a key is in the log")
		}
	}
	if !strings.Contains(log.String(), "reason=revoked key=revoked") {
		t.Errorf("the log does not say which key failed: %s", log.String())
	}
}

// A key has its own rate, whatever the address of its client, and keeps it when the file is
// read again.
func TestRateOfAKey(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "keys"), time.Now()
	slow := addKey(t, path, KeyRow{Name: "slow", Riders: []string{"*"}, Rate: 0.5})
	free := addKey(t, path, KeyRow{Name: "free", Riders: []string{"*"}})
	k := opened(t, path, nil)
	of := func(secret string) *Identity {
		id, _, why := k.find([]byte(secret), now)
		if why != "" {
			t.Fatal(why)
		}
		return id
	}
	id := of(slow)
	if id.Wait(now) != 0 {
		t.Error("a key that has sent nothing has to wait")
	}
	id.Pay(30) // a minute's worth
	if wait := id.Wait(now); wait <= 0 || wait > 3*time.Second {
		t.Errorf("waits %v, want 2 s", wait)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = k.take(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if of(slow).Wait(now) == 0 {
		t.Error("reading the file again has refilled the rate")
	}
	of(slow).Pay(-30)
	if of(slow).Wait(now) != 0 {
		t.Error("pings that were not kept are paid")
	}
	of(free).Pay(math.MaxInt32)
	if of(free).Wait(now) != 0 {
		t.Error("a key without a rate has to wait")
	}
}

// A million wrong keys of one client take no memory, and are refused cheaply. Another
// client's wrong key is answered as ever, and a right key is let in from both.
func TestAMillionWrongKeys(t *testing.T) {
	tries := 1_000_000
	if testing.Short() {
		tries = 50_000
	}
	path := filepath.Join(t.TempDir(), "keys")
	right := addKey(t, path, KeyRow{Name: "right", Riders: []string{"*"}})
	var log bytes.Buffer
	g := NewGate(Config{Keys: opened(t, path, nil), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, began, secret := heap(), time.Now(), []byte("pl_00000000")
	for i := range tries {
		copy(secret[3:], fmt.Sprintf("%08d", i))
		c := PlainCredentials(secret)
		if _, err := g.Enter(&c, here, began); err == nil {
			t.Fatal("a wrong key was let in")
		}
	}
	took, after := time.Since(began), heap()
	t.Logf("%d tries, %v a try, heap %d KiB before and %d KiB after, counts %v, log %d bytes", tries, took/time.Duration(tries), before>>10, after>>10, g.Stats(), log.Len())
	if after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	if n := g.Stats(); n[Unknown] != failureBurst || n[Unknown]+n[TooMany] != uint64(tries) {
		t.Errorf("counts %v", n)
	}
	if log.Len() > 10<<10 {
		t.Errorf("the log has %d bytes", log.Len())
	}
	for _, from := range []Client{here, there} {
		if _, err := g.Enter(bearer(right), from, began); err != nil {
			t.Errorf("the right key of %v: %v", from.Addr, err)
		}
	}
	if _, err := g.Enter(bearer("pl_no"), there, began); reasonOf(err) != Unknown {
		t.Errorf("a wrong key of another client: %v", err)
	}
	if _, err := g.Enter(bearer("pl_no"), here, began.Add(2*time.Second)); reasonOf(err) != Unknown {
		t.Errorf("a wrong key later: %v", err)
	}
}

// The times of right keys, of keys that differ from them in the last letter but one, and of
// random keys, for people: run it with -v. Nothing is asserted about times. Each kind has
// many keys, because the place of a hash in the table makes a difference of its own.
func TestTimesOfKeys(t *testing.T) {
	const each = 512
	path := filepath.Join(t.TempDir(), "keys")
	var keys []KeyRow
	kinds := []struct {
		name    string
		secrets [][]byte
		times   []float64 // ns
	}{{name: "right"}, {name: "one letter wrong"}, {name: "random"}}
	for i := range each {
		right, hash := NewSecret()
		random, _ := NewSecret()
		near := []byte(right)
		near[len(near)-2] ^= 1
		keys = append(keys, KeyRow{Name: fmt.Sprint("k", i), Hash: hash, Scopes: []string{"read"}, Riders: []string{"*"}})
		for j, secret := range [][]byte{[]byte(right), near, []byte(random)} {
			kinds[j].secrets = append(kinds[j].secrets, secret)
		}
	}
	if err := ChangeKeys(path, func([]KeyRow) ([]KeyRow, error) { return keys, nil }); err != nil {
		t.Fatal(err)
	}
	k, now := opened(t, path, nil), time.Now()
	rounds := 60_000
	if testing.Short() {
		rounds = 1000
	}
	for i := range rounds * len(kinds) { // in turn, so that all have the same conditions
		kind := &kinds[i%len(kinds)]
		secret := kind.secrets[i/len(kinds)%each]
		began := time.Now()
		for range 8 {
			_, _, _ = k.find(secret, now)
		}
		kind.times = append(kind.times, float64(time.Since(began))/8)
	}
	for i := range kinds {
		slices.Sort(kinds[i].times)
		at := func(q float64) float64 { return kinds[i].times[int(q*float64(len(kinds[i].times)-1))] }
		mean, sd := moments(trimmed(kinds[i].times))
		t.Logf("%-16s median %.0f ns, 10%% %.0f ns, 90%% %.0f ns, trimmed mean %.1f ± %.1f ns", kinds[i].name, at(0.5), at(0.1), at(0.9), mean, sd)
	}
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		a, b := kinds[pair[0]], kinds[pair[1]]
		ma, sa := moments(trimmed(a.times))
		mb, sb := moments(trimmed(b.times))
		t.Logf("%s − %s: %.1f ns, Cohen's d %.3f", a.name, b.name, ma-mb, (ma-mb)/math.Sqrt((sa*sa+sb*sb)/2))
	}
}

// trimmed returns the sorted times without the tenth at each end.
func trimmed(sorted []float64) []float64 { return sorted[len(sorted)/10 : len(sorted)*9/10] }

func moments(list []float64) (mean, sd float64) {
	for _, v := range list {
		mean += v
	}
	mean /= float64(len(list))
	for _, v := range list {
		sd += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(sd / float64(len(list)))
}

// A request's key costs so much: to be held against the cost of a batch of pings.
func BenchmarkEnter(b *testing.B) {
	path := filepath.Join(b.TempDir(), "keys")
	right := addKey(b, path, KeyRow{Name: "right", Riders: []string{"*"}})
	g := NewGate(Config{Keys: opened(b, path, nil)})
	header, now := []byte("Bearer "+right), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c := HeaderCredentials(header)
		if _, err := g.Enter(&c, here, now); err != nil {
			b.Fatal(err)
		}
	}
}

// oneToken lets every token in as the same sender.
type oneToken struct{ id *Identity }

func (o oneToken) Cached([]byte, time.Time) *Identity         { return nil }
func (o oneToken) Check([]byte, time.Time) (*Identity, Cause) { return o.id, "" }
func (o oneToken) Notes() []string                            { return nil }
func (o oneToken) Run(context.Context) error                  { return nil }

// The user name beside a token, as beside a key, says which of its riders is meant.
func TestRiderBesideAToken(t *testing.T) {
	riders, err := ExactRiders("ana", "ben")
	if err != nil {
		t.Fatal(err)
	}
	g := NewGate(Config{Tokens: oneToken{NewIdentity("family", allScopes, riders, time.Now().Add(time.Hour), nil)}})
	for user, want := range map[string]string{"": "", "ana": "ana", "ben": "ben", "eve": ""} {
		id, err := g.Enter(&Credentials{Secret: []byte("a.b.c"), User: []byte(user), Shown: true}, here, time.Now())
		if err != nil || id.Rider != want {
			t.Errorf("%q: rider %q, %v", user, id.Rider, err)
		}
	}
}

// Where riders have pseudonyms, log and trail tell the subject of a token by one, too: whether
// it is the rider, an alias of the rider, or may read all.
func TestSubjectsAreToldByPseudonyms(t *testing.T) {
	names, err := privacy.NewPseudonyms(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	one, err := ExactRiders("bus-7")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		subject string
		names   *privacy.Pseudonyms
		riders  RidersOf
		want    string
	}{
		{"bus-7", names, one, names.Of("bus-7")},
		{"ana@example.org", names, one, names.Of("ana@example.org")},
		{"ana@example.org", names, Everyone, names.Of("ana@example.org")},
		{"", names, Everyone, "token"},
		{"ana@example.org", nil, Everyone, "ana@example.org"},
	} {
		var log bytes.Buffer
		var trail []string
		g := NewGate(Config{
			Tokens: oneToken{NewIdentity(tt.subject, Read, tt.riders, time.Now().Add(time.Hour), nil)}, Names: tt.names,
			Logger:  slog.New(slog.NewTextHandler(&log, nil)),
			Failed:  func(e *Denied, _ netip.Addr) { trail = append(trail, e.Name) },
			Read:    func(key, _ string, _ netip.Addr) { trail = append(trail, key) },
			Removed: func(key, _ string, _ netip.Addr) { trail = append(trail, key) },
		})
		now := time.Now()
		id, err := g.Enter(bearer("a.b.c"), here, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.NeedScope(id, Admin, false, here, now); err == nil {
			t.Fatal("it has a scope that it has not")
		}
		if err := g.NeedRider(id, "bus-7", here, now); err != nil {
			t.Fatal(err)
		}
		g.Removed(id, "1", here.Addr)
		if want := []string{tt.want, tt.want, tt.want}; !slices.Equal(trail, want) || !strings.Contains(log.String(), "key="+tt.want) {
			t.Errorf("subject %q: trail %q, log %s; want %q", tt.subject, trail, &log, tt.want)
		}
		if tt.names != nil && tt.subject != "" && strings.Contains(log.String(), tt.subject) {
			t.Errorf("subject %q is in the log: %s", tt.subject, &log)
		}
	}
}
