package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"pingline/ingest/auth"
	"pingline/internal/command"
)

// run runs pingline key with arguments.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var commands KeyCmds
	parser, err := kong.New(&commands)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return "", "", err
	}
	var out, log bytes.Buffer
	p := &command.Program{Context: t.Context(), Stdout: &out, Stderr: &log}
	err = parsed.Run(p)
	return out.String(), log.String(), err
}

// entered returns why a secret lets nobody in, or "", and who its sender is.
func entered(t *testing.T, path, secret string, at time.Time) (*auth.Identity, auth.Cause) {
	t.Helper()
	ring, err := auth.OpenKeyRing(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := auth.PlainCredentials([]byte(secret))
	id, err := auth.NewGate(auth.Config{Keys: ring}).Enter(&c, auth.Client{}, at)
	if e, ok := errors.AsType[*auth.Denied](err); ok {
		return nil, e.Cause
	}
	return id, ""
}

func TestLifeOfAKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	file := "--keys=" + path
	out, log, err := run(t, "add", "ana", file, "--scope=write", "--rate=5", "--expires=48h")
	if err != nil || !regexp.MustCompile(`^pl_[A-Za-z0-9_-]{43}\n$`).MatchString(out) || strings.Contains(log, strings.TrimSpace(out)) {
		t.Fatalf("%q, %q, %v", out, log, err)
	}
	secret, now := strings.TrimSpace(out), time.Now()
	id, why := entered(t, path, secret, now)
	if why != "" || id.Name != "ana" || id.Scopes != auth.Write || id.Riders.Only() != "ana" {
		t.Fatalf("%+v, %s", id, why)
	}
	if _, why := entered(t, path, secret, now.Add(49*time.Hour)); why != auth.Expired {
		t.Errorf("after 49 h: %q", why)
	}
	text, _ := os.ReadFile(path)
	if strings.Contains(string(text), secret) {
		t.Error("the file has the key")
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, _, err := run(t, "add", "ana", file); err == nil || !strings.Contains(err.Error(), `there is a key "ana" already`) {
		t.Errorf("a name twice: %v", err)
	}
	if _, _, err := run(t, "add", "depot", file, "--rider=bus-*", "--rider=van-1", "--scope=read,admin"); err != nil {
		t.Fatal(err)
	}
	out, _, err = run(t, "rotate", "ana", file, "--overlap=1h")
	if err != nil {
		t.Fatal(err)
	}
	next := strings.TrimSpace(out)
	if id, why := entered(t, path, next, now); why != "" || id.Scopes != auth.Write || id.Riders.Only() != "ana" {
		t.Errorf("the next key: %+v, %s", id, why)
	}
	if _, why := entered(t, path, next, now.Add(47*time.Hour)); why != "" {
		t.Errorf("the next key after 47 h: %s", why)
	}
	if _, why := entered(t, path, secret, now); why != "" {
		t.Errorf("the key of before: %s", why)
	}
	if _, why := entered(t, path, secret, now.Add(2*time.Hour)); why != auth.Expired {
		t.Errorf("the key of before after 2 h: %s", why)
	}
	list, _, err := run(t, "list", file)
	if err != nil || strings.Count(list, "\nana ") != 2 || !strings.Contains(list, "bus-*,van-1") || !strings.Contains(list, "valid until") || !strings.Contains(list, "read,admin") {
		t.Errorf("%v\n%s", err, list)
	}
	lines, _, err := run(t, "list", file, "--json")
	if keys, perr := auth.ParseKeys([]byte(lines)); err != nil || perr != nil || len(keys) != 3 {
		t.Errorf("%v, %v\n%s", err, perr, lines)
	}
	if _, _, err := run(t, "revoke", "ana", file); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{secret, next} {
		if _, why := entered(t, path, s, now); why != auth.Revoked {
			t.Errorf("a revoked key: %q", why)
		}
		if strings.Contains(list+lines+log, s) {
			t.Error("a list or a sentence has a key")
		}
	}
	if list, _, _ = run(t, "list", file); strings.Count(list, "revoked 2") != 2 {
		t.Errorf("\n%s", list)
	}
	if _, _, err := run(t, "add", "ana", file); err != nil { // the name is free again
		t.Error(err)
	}
}

func TestWrongCommands(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	if _, _, err := run(t, "add", "a", "--keys="+path); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"add b --keys=" + broken, "line 1: no JSON object"},
		{"add b --keys=" + dir + "/none/keys", "no such file"},
		{"add b --scope=all --keys=" + path, `"all" is not write, read or admin`},
		{"add b! --keys=" + path, "characters other than"},
		{"add b --rate=-1 --keys=" + path, "rate"},
		{"add b --expires=-1h --keys=" + path, "--expires"},
		{"list --keys=" + dir + "/none", "no such file"},
		{"revoke b --keys=" + path, `there is no key "b"`},
		{"rotate b --keys=" + path, "there is no key of that name"},
		{"rotate a --overlap=-1s --keys=" + path, "--overlap"},
	} {
		out, _, err := run(t, strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, new(command.UsageError)) || out != "" {
			t.Errorf("%s: %q, %v; want %q", tt.args, out, err, tt.want)
		}
	}
	if _, _, err := run(t, "revoke", "a", "--keys="+path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, "revoke", "a", "--keys="+path); err == nil {
		t.Error("a key was revoked twice")
	}
	if keys, err := auth.ReadKeys(path); err != nil || len(keys) != 1 {
		t.Errorf("the commands that failed have left %d keys, %v", len(keys), err)
	}
}

// Private zones of a key are in the file, stay when it is rotated, and are not listed.
func TestZonesOfAKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	file := "--keys=" + path
	if _, _, err := run(t, "add", "ana", file, "--private-zone=41.1579438,-8.6291053,300", "--private-zone=-33.9,18.4,50"); err != nil {
		t.Fatal(err)
	}
	out, _, err := run(t, "rotate", "ana", file)
	if err != nil {
		t.Fatal(err)
	}
	if id, why := entered(t, path, strings.TrimSpace(out), time.Now()); why != "" || id.Zones.Len() != 2 {
		t.Errorf("%+v, %s", id, why)
	}
	if out, _, err = run(t, "list", file); err != nil || strings.Contains(out, "41.15") || strings.Count(out, "  2      ") != 2 {
		t.Errorf("%s, %v", out, err)
	}
	_, log, err := run(t, "add", "bo", file, "--private-zone=41.1579438,-8.6291053,5")
	if err == nil || err.Error() != "--private-zone: zone 1: METRES is not in [10, 100000]" || log != "" {
		t.Errorf("a zone that is too small: %s, %v", log, err)
	}
	text, _ := os.ReadFile(path)
	bad := strings.Replace(string(text), `,300"`, `,9000000"`, 1) // the hash may have 300 in it
	if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.OpenKeyRing(path, nil); err == nil || !strings.Contains(err.Error(), "line 1: private_zones: zone 1: METRES is not in") || strings.Contains(err.Error(), "41.15") {
		t.Errorf("a file with a zone that is too large: %v", err)
	}
}

// Friends of a key are in the file, and stay when it is rotated.
func TestFriendsOfAKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	file := "--keys=" + path
	if _, _, err := run(t, "add", "ana", file, "--friend=ben", "--friend=z,oe"); err != nil {
		t.Fatal(err)
	}
	out, _, err := run(t, "rotate", "ana", file)
	if err != nil {
		t.Fatal(err)
	}
	id, why := entered(t, path, strings.TrimSpace(out), time.Now())
	if why != "" || !slices.Equal(id.Friends, []string{"ben", "z,oe"}) || id.Riders.Has("ben") {
		t.Errorf("%+v, %s", id, why)
	}
	if list, _, err := run(t, "list", file); err != nil || !strings.Contains(list, "FRIENDS") || !strings.Contains(list, " ben,z,oe ") {
		t.Errorf("%s, %v", list, err)
	}
	many := []string{"add", "bo", file}
	for i := range auth.MaxFriends + 1 {
		many = append(many, fmt.Sprint("--friend=f", i))
	}
	for want, args := range map[string][]string{
		"friends: 51 are more than 50":       many,
		`--friend: "bus-*": friends are`:     {"add", "bo", file, "--friend=bus-*"},
		`friends: rider "a\\b": a backslash`: {"add", "bo", file, `--friend=a\b`},
	} {
		if _, _, err := run(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestKeyOfPseudonyms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pseudonyms")
	out, log, err := run(t, "pseudonyms", path)
	if err != nil || out != "" {
		t.Fatalf("%q, %v", out, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || len(text) != 65 || strings.Contains(log, strings.TrimSpace(string(text))) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if _, _, err := run(t, "pseudonyms", path); err == nil {
		t.Error("a key was replaced")
	}
}
