package privacy

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pingline"
)

func namesBy(t testing.TB, key string) *Pseudonyms {
	t.Helper()
	p, err := NewPseudonyms([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const testKey = "0123456789abcdef0123456789abcdef"

func TestPseudonyms(t *testing.T) {
	p := namesBy(t, testKey)
	for _, rider := range []string{"ana", "Ana", "é", strings.Repeat("x", pingline.MaxID), p.Of("ana")} {
		name := p.Of(rider)
		if !IsPseudonym(name) || pingline.CheckID("rider_id", name) != nil || name == rider || strings.Contains(name, rider) {
			t.Errorf("%q: %q", rider, name)
		}
		if p.Of(rider) != name || namesBy(t, testKey).Of(rider) != name {
			t.Errorf("%q has several pseudonyms", rider)
		}
		if namesBy(t, testKey+"x").Of(rider) == name {
			t.Errorf("%q has the same pseudonym by another key", rider)
		}
		if p.Stored(name) != name || len(p.Names(name)) != 1 {
			t.Errorf("a reader who asks for %q asks for %q", name, p.Stored(name))
		}
	}
	if got := p.Names("ana"); len(got) != 2 || got[0] != p.Of("ana") || got[1] != "ana" || p.Stored("ana") != got[0] {
		t.Errorf("names of ana: %q", got)
	}
	none := (*Pseudonyms)(nil)
	if none.Of("ana") != "ana" || none.Stored("ana") != "ana" || len(none.Names("ana")) != 1 {
		t.Error("without a key riders lose their names")
	}
	for _, id := range []string{"", "p-", "ana", "p-aaaaaaaaaaaaaaaaaaaaaaaaa", "p-aaaaaaaaaaaaaaaaaaaaaaaaaaa", "p-aaaaaaaaaaaaaaaaaaaaaaaaab", "p-Aaaaaaaaaaaaaaaaaaaaaaaaaa", "p-aaaaaaaa1aaaaaaaaaaaaaaaaa", "q-aaaaaaaaaaaaaaaaaaaaaaaaaa"} {
		if IsPseudonym(id) {
			t.Errorf("%q has the form of a pseudonym", id)
		}
	}
}

// The pseudonym of a rider is found by the command that docs/privacy.md has.
func TestPseudonymsByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := MakeKey(path); err != nil {
		t.Fatal(err)
	}
	p, open, err := ReadPseudonyms(path)
	if err != nil || open {
		t.Fatalf("%v, open to others: %v", err, open)
	}
	doc, err := os.ReadFile("../../docs/privacy.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "printf %s ana |"
	at := bytes.Index(doc, []byte(begin))
	if at < 0 {
		t.Fatal("docs/privacy.md has no command")
	}
	command, _, _ := strings.Cut(string(doc[at:]), "\n```")
	for _, program := range []string{"openssl", "base32", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "/etc/pingline/pseudonyms", path))
	out, err := cmd.CombinedOutput()
	if err != nil || mark+strings.TrimSpace(string(out)) != p.Of("ana") {
		t.Errorf("%s: %v %q, want %q", command, err, out, p.Of("ana"))
	}
}

func TestFilesOfKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := MakeKey(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if err := MakeKey(path); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a key was replaced: %v", err)
	}
	secret := hex.EncodeToString([]byte(testKey))
	for name, text := range map[string]string{
		"empty": "", "short": secret[2:], "no hex": "x" + secret, "half a byte": secret + "0", "two": secret + " " + secret, "long": strings.Repeat(secret, 40), "huge": strings.Repeat(secret, 100),
	} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadPseudonyms(bad); err == nil || strings.Contains(err.Error(), secret[2:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte(" "+strings.ToUpper(secret)+"\r\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	p, open, err := ReadPseudonyms(good)
	if err != nil || !open || p.Of("ana") != namesBy(t, testKey).Of("ana") {
		t.Errorf("%v, open to others: %v", err, open)
	}
	if m := p.Mark(); len(m) != 8 || m == namesBy(t, testKey+"x").Mark() || strings.Contains(secret, m) {
		t.Errorf("mark %q", m)
	}
}

func TestPseudonymsAtTheSameTime(t *testing.T) {
	p := namesBy(t, testKey)
	ana, bo := p.Of("ana"), p.Of("bo")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if p.Of("ana") != ana || p.Of("bo") != bo {
					t.Error("pseudonyms are mixed up")
					return
				}
			}
		})
	}
	all.Wait()
}
