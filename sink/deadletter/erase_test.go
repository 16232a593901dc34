package deadletter

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
)

// Of a rider who is removed no letter is left, wherever it waits, and no mention; letters of
// others stay, broken off at any step.
func TestErase(t *testing.T) {
	ping := func(rider, reason string) Letter {
		l := Letter{At: time.Unix(1.76e9, 0).UTC(), Shard: "a", Cause: "other", Reason: reason}
		l.Entry = pingline.Entry{Kind: pingline.Replayed, Verdict: pingline.Accepted, To: "a", Ping: pingline.Ping{Rider: rider, Fix: pingline.Fix{At: 1.76e12, LatE7: 1, LonE7: 2}}}
		return l
	}
	line := Letter{At: time.Unix(1.76e9, 0).UTC(), Shard: "a", Cause: "other", Reason: "x", Entry: pingline.Entry{Kind: pingline.Replayed, To: "a", Line: `place,rider=r-1,x=y v=1 1760000000000`}}
	all := []Letter{ping("r-1", "bad r-1"), ping("r-11", "bad r-11"), ping("r-2", "next to rider=r-1 there was"), line, ping("r-3", "x")}
	d, err := Make(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	put := func() {
		t.Helper()
		if _, err := d.Append(t.Context(), len(all), func(i int) Letter { return all[i] }); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if _, err := d.Replay(t.Context(), func(l *Letter) bool { return l.Entry.Rider != "r-3" }); err != nil {
		t.Fatal(err)
	}
	put()
	bad := "no letter of r-1\nno letter of r-11\n"
	if err := os.WriteFile(filepath.Join(d.replayDir(), "deadletter-000009.jsonl.unreadable"), []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := 0
	d.step = func() {
		if broken++; broken == 1 {
			panic("broken off")
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = d.Erase(t.Context(), "r-1")
	}()
	n, err := d.Erase(t.Context(), "r-1")
	if err != nil || n != 5 {
		t.Errorf("%d letters are gone: %v", n, err)
	}
	var text strings.Builder
	for _, pattern := range []string{"*", "replay/*"} {
		names, err := filepath.Glob(filepath.Join(d.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil {
				text.Write(b)
			}
		}
	}
	if Names(text.String(), "r-1") || strings.Count(text.String(), `"bad r-11"`) != 2 || strings.Count(text.String(), `"r-2"`) != 2 || !strings.Contains(text.String(), "no letter of r-11") {
		t.Errorf("left: %s", text.String())
	}
	var riders []string
	for l, err := range d.All() {
		if err != nil {
			t.Fatal(err)
		}
		riders = append(riders, l.Entry.Rider)
	}
	if !slices.Equal(riders, []string{"r-3", "r-11", "r-2", "r-3"}) {
		t.Errorf("letters of %q are left", riders)
	}
	if n, err := d.Erase(t.Context(), "r-1"); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
}

// Earlier versions wrote a letter as line protocol, in which an id may be escaped.
func TestEraseEscaped(t *testing.T) {
	for _, rider := range []string{"a b", "a,b", "a=b", "é ü", "bob", `a"b`, "a<b&c"} {
		letter := func(of string) string {
			text, err := json.Marshal(map[string]any{
				"at": "2025-10-09T08:53:20Z", "shard": "a", "cause": "other", "reason": "next to rider=" + escaped(rider) + " there was",
				"line": "location,cell=8539220ffffffff,rider=" + escaped(of) + " lat=41,lon=-8 1760000000000",
			})
			if err != nil {
				t.Fatal(err)
			}
			return string(text) + "\n"
		}
		if left := without([]byte(letter(rider)), rider); left != nil {
			t.Errorf("%q: left is %s", rider, left)
		}
		if left := without([]byte(letter("other")), rider); !strings.Contains(string(left), "other") || strings.Contains(string(left), "there was") {
			t.Errorf("%q: of another rider's letter is left: %s", rider, left)
		}
	}
}

func TestLineNames(t *testing.T) {
	for line, want := range map[string]bool{
		`location,cell=1,rider=a\ b lat=1 1`: true, `location,rider=a\ b,x=1 lat=1 1`: true, `location,rider=a\ bc lat=1 1`: false, `location,rider=a lat=1 1`: false,
	} {
		if got := LineNames(line, "a b"); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}
