package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// addKey adds a key to a file and returns it.
func addKey(t testing.TB, path string, k KeyRow) (secret string) {
	t.Helper()
	secret, k.Hash = NewSecret()
	if k.Scopes == nil {
		k.Scopes = []string{"write", "read"}
	}
	if err := ChangeKeys(path, func(keys []KeyRow) ([]KeyRow, error) { return append(keys, k), nil }); err != nil {
		t.Fatal(err)
	}
	return secret
}

// until waits for something, at most two minutes.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// opened opens the keys of a file, and reads them again until the test ends.
func opened(t testing.TB, path string, log *bytes.Buffer) *KeyRing {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(&lockedWriter{to: log}, nil))
	}
	k, err := OpenKeyRing(path, logger)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = k.Run(t.Context()) })
	t.Cleanup(wg.Wait)
	return k
}

type lockedWriter struct {
	mu sync.Mutex
	to *bytes.Buffer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

func TestParseKeys(t *testing.T) {
	const hash = `"sha256":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"`
	const good = `{"name":"a",` + hash + `,"scopes":["write"],"riders":["r"]}`
	for _, tt := range []struct{ name, text, want string }{
		{"a key, a comment and a blank line", "# keys\n\n" + good + "\n", ""},
		{"an empty file", "", ""},
		{"no JSON", "pl_secret", "line 1: no JSON object"},
		{"half of a line", good[:40], "line 1: no JSON object"},
		{"a misspelt field", `{"name":"a",` + hash + `,"scopes":["write"],"riders":["r"],"expirs":"2030-01-01T00:00:00Z"}`, "line 1: a field that is not known"},
		{"a time that is none", `{"name":"a",` + hash + `,"scopes":["write"],"riders":["r"],"expires":"soon"}`, "line 1: a time is not of the form"},
		{"no scope", `{"name":"a",` + hash + `,"riders":["r"]}`, "line 1: no scopes"},
		{"a scope that is none", `{"name":"a",` + hash + `,"scopes":["all"],"riders":["r"]}`, `"all" is not write, read or admin`},
		{"no hash", `{"name":"a","scopes":["write"],"riders":["r"]}`, "no sha256"},
		{"a short hash", `{"name":"a","sha256":"00","scopes":["write"],"riders":["r"]}`, "sha256 is not 64 digits"},
		{"a long hash", `{"name":"a","sha256":"` + strings.Repeat("0", 66) + `","scopes":["write"],"riders":["r"]}`, "sha256 is not 64 digits"},
		{"a hash of other letters", `{"name":"a","sha256":"` + strings.Repeat("z", 64) + `","scopes":["write"],"riders":["r"]}`, "sha256 is not 64 digits"},
		{"no name", `{` + hash + `,"scopes":["write"],"riders":["r"]}`, "line 1: name"},
		{"a rider that cannot be", `{"name":"a",` + hash + `,"scopes":["write"],"riders":[" r"]}`, "white space at an end"},
		{"a rate below 0", `{"name":"a",` + hash + `,"scopes":["write"],"riders":["r"],"rate":-1}`, "rate: -1 is not in"},
		{"a number", "7", "line 1: no JSON object"},
		{"a text for a rate", `{"name":"a",` + hash + `,"scopes":["write"],"riders":["r"],"rate":"x"}`, "line 1: rate is not of its type"},
		{"two keys with a hash", good + "\n" + good, "line 2: the same sha256 as line 1"},
		{"two objects on a line", good + good, "line 1: more than a JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseKeys([]byte(tt.text))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "pl_secret") {
				t.Errorf("the error quotes the line: %v", err)
			}
		})
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"name":"a","sha256":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","scopes":["write"],"riders":["r*"],"expires":"2030-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if err != nil {
			return
		}
		for i := range keys {
			if _, err := keys[i].identity(); err != nil {
				t.Errorf("a key that was parsed has no identity: %v", err)
			}
		}
	})
}

func TestRidersOf(t *testing.T) {
	r, err := ParseRiders([]string{"ana", "bus-*"})
	if err != nil {
		t.Fatal(err)
	}
	for rider, want := range map[string]bool{"ana": true, "anab": false, "an": false, "bus-": true, "bus-7": true, "bus": false, "": false} {
		if r.Has(rider) != want {
			t.Errorf("%q: %v, want %v", rider, !want, want)
		}
	}
	all, err := ParseRiders([]string{"*"})
	if err != nil || !all.All() || !all.Has("anybody") || r.All() {
		t.Errorf("* has not all riders, or a prefix has: %v", err)
	}
	// A name that comes from elsewhere is a name, whatever its letters.
	star, err := ExactRiders("*", "bus-*")
	if err != nil || star.All() || star.Has("bus-7") || !star.Has("bus-*") {
		t.Errorf("a * in an exact name is more than a letter: %v", err)
	}
	if (&RidersOf{}).Has("ana") || (&RidersOf{}).All() || r.Only() != "" || star.Only() != "" {
		t.Error("the zero value has riders, or a set of several has one only")
	}
	if one, _ := ExactRiders("ana"); one.Only() != "ana" {
		t.Errorf("the only rider is %q", one.Only())
	}
	if _, err := ParseRiders(slices.Repeat([]string{"a"}, mostRiders+1)); err == nil {
		t.Error("too many riders are taken")
	}
}

func TestScopes(t *testing.T) {
	if Write.Has(Read) || !Admin.Has(Read) || Admin.Has(Write) || Scope(0).Has(Write) || !(Write | Read).Has(Read) || (Write | Read).Has(Admin) {
		t.Error("a scope has another that it must not have, or the other way round")
	}
	if s := (Write | Admin).String(); s != "write,admin" {
		t.Errorf("%q", s)
	}
}

// Changes at the same time all last, the file is only readable to its owner, and comments stay.
func TestKeysChangedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("# of the depot\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { addKey(t, path, KeyRow{Name: fmt.Sprint("k", i), Riders: []string{"r"}}) })
	}
	wg.Wait()
	keys, err := ReadKeys(path)
	if err != nil || len(keys) != n {
		t.Errorf("%d keys, %v; want %d", len(keys), err, n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, _ := os.ReadFile(path)
	if !bytes.HasPrefix(text, []byte("# of the depot\n{")) {
		t.Errorf("the comment has gone: %.60s", text)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if len(left) != 2 { // the keys and the lock
		t.Errorf("files: %v", left)
	}
}

// A change that fails leaves the file as it was.
func TestKeysChangeFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	addKey(t, path, KeyRow{Name: "a", Riders: []string{"r"}})
	before, _ := os.ReadFile(path)
	if err := ChangeKeys(path, func(keys []KeyRow) ([]KeyRow, error) { return append(keys, KeyRow{Name: "bad name"}), nil }); err == nil {
		t.Error("a wrong key was written")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Errorf("the file is now %s", after)
	}
}

// A key that is added, revoked or has its riders changed counts without a restart. A file
// that is broken, or gone, leaves the keys as they were, and a note says so until it is
// whole again.
func TestKeysAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	first := addKey(t, path, KeyRow{Name: "first", Riders: []string{"r"}})
	var log bytes.Buffer
	k := opened(t, path, &log)
	reason := func(secret string) Cause {
		_, _, why := k.find([]byte(secret), time.Now())
		return why
	}
	if why := reason(first); why != "" {
		t.Fatalf("a right key: %s", why)
	}
	second := addKey(t, path, KeyRow{Name: "second", Riders: []string{"r"}})
	until(t, "the second key counts", func() bool { return reason(second) == "" })
	if err := ChangeKeys(path, func(keys []KeyRow) ([]KeyRow, error) { keys[0].Revoked = time.Now(); return keys, nil }); err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	until(t, "the first key is revoked", func() bool { return reason(first) == Revoked })
	t.Logf("revoked after %v", time.Since(changed).Round(time.Millisecond))

	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A file that is written in place is empty for a moment, and so has no keys.
	for _, broken := range []func() error{
		func() error { return replace(path, []byte("{")) },
		func() error { return os.Remove(path) },
		func() error { return replace(path, []byte("{")) },
	} {
		if err := broken(); err != nil {
			t.Fatal(err)
		}
		until(t, "a note says that the file is broken", func() bool { return len(k.Notes()) == 1 })
		if reason(second) != "" || reason(first) != Revoked {
			t.Error("a broken file has changed the keys")
		}
		if err := replace(path, whole); err != nil {
			t.Fatal(err)
		}
		until(t, "the note is gone", func() bool { return len(k.Notes()) == 0 })
	}
}

// A file that changes in place, to the same size, within a tick of the clock of files.
func TestKeysChangeWithinATick(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	secret := addKey(t, path, KeyRow{Name: "aa", Riders: []string{"r"}})
	tick := time.Now().Add(time.Minute) // one that is not over before the file is looked at
	if err := os.Chtimes(path, tick, tick); err != nil {
		t.Fatal(err)
	}
	k := opened(t, path, nil)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(`"aa"`), []byte(`"bb"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, tick, tick); err != nil {
		t.Fatal(err)
	}
	until(t, "the new name counts", func() bool {
		_, of, _ := k.find([]byte(secret), time.Now())
		return of.Name == "bb"
	})
}
