// Package secrets has the secrets that riders share with the server, so that it can open
// messages that their apps have encrypted.
//
// They are in a file, a rider and a secret a line, which is read again when it changes. No
// secret is in an error or in the log. The package encrypts nothing itself.
package secrets

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"pingline"
	"pingline/ingest/auth/reread"
)

// Size is the most bytes of a secret, and those of a key.
const Size = 32

// anyRider is the rider of the secret for all riders that have none.
const anyRider = "*"

// Secrets are those of a file. If it cannot be read again, they stay as they were. They are
// safe for concurrent use.
type Secrets struct {
	path   string
	logger *slog.Logger
	keys   atomic.Pointer[map[string]*[Size]byte]
	note   atomic.Pointer[string] // why the file cannot be read, or ""

	file *reread.Copy // used by Open and Run alone
}

// Open reads a file. A nil logger logs nothing.
func Open(path string, logger *slog.Logger) (*Secrets, error) {
	s := &Secrets{path: path, logger: cmp.Or(logger, slog.New(slog.DiscardHandler)), file: reread.New(path)}
	s.note.Store(new(string))
	text, _, err := s.file.Look()
	if err != nil {
		return nil, err
	}
	if err := s.take(text); err != nil {
		return nil, err
	}
	if mode := s.file.Mode(); mode&0o077 != 0 {
		s.logger.Warn("others may read the secrets of riders: chmod 600", "file", path, "mode", mode)
	}
	return s, nil
}

func (s *Secrets) take(text []byte) error {
	keys, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.keys.Store(&keys)
	return nil
}

// parse reads lines of a rider and, behind white space, a secret. Blank lines and those that
// begin with # are none.
func parse(text []byte) (map[string]*[Size]byte, error) {
	keys := make(map[string]*[Size]byte)
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		at := bytes.LastIndexAny(line, " \t")
		if at < 0 {
			return nil, fmt.Errorf("line %d: want a rider, a blank and a secret", n)
		}
		rider, secret := string(bytes.TrimSpace(line[:at])), line[at+1:]
		if err := pingline.CheckID("rider", rider); err != nil {
			var wrong *pingline.FieldError
			if errors.As(err, &wrong) {
				return nil, fmt.Errorf("line %d: the rider: %s", n, wrong.Reason)
			}
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case len(secret) > Size:
			return nil, fmt.Errorf("line %d: a secret of %d bytes; apps take %d at most", n, len(secret), Size)
		case keys[rider] != nil:
			return nil, fmt.Errorf("line %d: the rider has a secret already", n)
		}
		keys[rider] = new([Size]byte)
		copy(keys[rider][:], secret)
	}
	return keys, nil
}

// Key returns the secret of a rider, padded with zeros, or the one for all others, or nil. It
// must not be changed.
func (s *Secrets) Key(rider string) *[Size]byte {
	keys := *s.keys.Load()
	if key := keys[rider]; key != nil {
		return key
	}
	return keys[anyRider]
}

// Run reads the file again when it has changed, until ctx is cancelled.
func (s *Secrets) Run(ctx context.Context) error {
	s.file.Follow(ctx, s.changed)
	return nil
}

// changed takes the text of the file, if it can be read.
func (s *Secrets) changed(text []byte, err error) {
	if err == nil {
		err = s.take(text)
	}
	note := ""
	if err != nil {
		note = fmt.Sprintf("--owntracks-secrets: the secrets stay as they were, because the file cannot be read: %v", err)
		s.logger.Error("the secrets of riders stay as they were, because the file cannot be read", "error", err)
	} else {
		s.logger.Info("the secrets of riders are read again", "file", s.path, "riders", len(*s.keys.Load()))
	}
	s.note.Store(&note)
}

// Notes returns a sentence if the file cannot be read. A nil Secrets has none.
func (s *Secrets) Notes() []string {
	if s == nil || *s.note.Load() == "" {
		return nil
	}
	return []string{*s.note.Load()}
}
