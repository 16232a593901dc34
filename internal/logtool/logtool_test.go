package logtool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/internal/command"
)

// A file that was cut off anywhere goes on with the commit that may be incomplete.
func TestEndOfAnExport(t *testing.T) {
	const whole = `{"commit":7,"entry":0}` + "\n" + `{"commit":7,"entry":1}` + "\n" + `{"commit":9,"lost_to":12}` + "\n" + `{"commit":13,"entry":0}` + "\n"
	for text, want := range map[string]struct {
		number uint64
		left   int
	}{
		"":                              {0, 0},
		whole:                           {13, strings.Index(whole, `{"commit":13`)},
		whole[:len(whole)-3]:            {13, strings.Index(whole, `{"commit":13`)},
		whole + `{"comm`:                {13, strings.Index(whole, `{"commit":13`)},
		whole + `{"commit":14,"en`:      {14, len(whole)},
		whole[:30]:                      {7, 0},
		`{"commit":7,"entry":0}` + "\n": {7, 0},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(text)
		_, serr := f.Seek(0, 0)
		if err := errors.Join(err, serr); err != nil {
			t.Fatal(err)
		}
		number, err := endOf(f)
		if err != nil || number != want.number {
			t.Errorf("%q ends at %d, %v, want %d", text, number, err, want.number)
		}
		if left, err := os.ReadFile(f.Name()); err != nil || string(left) != text[:want.left] {
			t.Errorf("of %q is left %q, %v", text, left, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(path, []byte("my own notes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &EntriesCmd{Out: path, Resume: true, LogPlace: LogPlace{Server: "http://127.0.0.1:1"}}
	if err := c.Run(&command.Program{Context: t.Context(), Stderr: new(bytes.Buffer)}); err == nil || !errors.As(err, new(command.UsageError)) {
		t.Errorf("another file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "my own notes\n" {
		t.Errorf("another file is %q now, %v", text, err)
	}
}

// Wrong settings are named before anything is opened or made.
func TestWrongPlaces(t *testing.T) {
	dir := t.TempDir()
	servers := filepath.Join(dir, "servers")
	if err := os.MkdirAll(filepath.Join(servers, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(dir, "shared")
	if err := os.MkdirAll(filepath.Join(shared, "part-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	prog := &command.Program{Context: t.Context(), Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}
	for at, want := range map[string]string{
		shared:                        "is of a node with --parts: name the directory of a part: " + filepath.Join(shared, "part-1"),
		filepath.Join(dir, "nothing"): "--data-dir: no node has worked in ",
		servers:                       "is not in it, but on servers",
	} {
		err := (&InspectCmd{LogPlace: LogPlace{DataDir: at}}).Run(prog)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(command.UsageError)) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
	for want, cmd := range map[string]interface{ Validate() error }{
		"--newest: 0 is not in [1, 100000]": &TailCmd{LogPlace: LogPlace{DataDir: dir}},
		"--follow: goes without --data-dir": &TailCmd{Newest: 1, Follow: true, LogPlace: LogPlace{DataDir: dir}},
		"--resume: goes with --out":         &EntriesCmd{Resume: true, LogPlace: LogPlace{DataDir: dir}},
		"--to: is not after --from":         &EntriesCmd{From: bound{number: 5}, To: bound{number: 5}, LogPlace: LogPlace{DataDir: dir}},
		`--server: "here" is not a URL`:     &BackupCmd{Out: "x", LogPlace: LogPlace{Server: "here"}},
		"--tls-cert: and --tls-key: give both": func() *InspectCmd {
			c := &InspectCmd{LogPlace: LogPlace{Server: "https://a"}}
			c.Cert = "x"
			return c
		}(),
	} {
		if err := cmd.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var b bound
	for text, want := range map[string]bound{"17": {number: 17}, "2026-03-01T00:00:00Z": {at: 1772323200000}} {
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s is %+v, %v", text, b, err)
		}
	}
	for _, text := range []string{"0", "-1", "yesterday", ""} {
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
