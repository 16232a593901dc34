// Package trail writes who read which rider's track, and which key failed: a line of JSON
// each, in a file that is rotated by its size.
//
// A line has the name of a key, never the key. A line that cannot be written is no reason
// to refuse a request: the log says that it is missing. Half of it, or an empty line, may be
// in its place.
package trail

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"pingline/ingest/auth"
)

// Rotation: a file of so many MB, and so many before it.
const (
	mostMB  = 100
	backups = 10
)

// Trail writes lines. It is safe for concurrent use.
type Trail struct {
	to     *lumberjack.Logger
	logger *slog.Logger

	mu     sync.Mutex // guards failed; nothing else is locked under it
	failed bool       // the line before could not be written
}

// auditLine is a line.
type auditLine struct {
	At     time.Time  `json:"at"`
	What   string     `json:"what"` // read, removed or failed
	Key    string     `json:"key"`  // its name; "" if it is not known
	Client netip.Addr `json:"client"`
	Rider  string     `json:"rider,omitempty"`
	// Removal stands in place of the rider, who is to be found nowhere afterwards.
	Removal string     `json:"removal,omitempty"`
	Reason  auth.Cause `json:"reason,omitempty"`
}

// Open opens the file, which is made if it is missing, with mode 0600.
func Open(path string, logger *slog.Logger) (*Trail, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() { // it would be taken for an old file, and renamed
		return nil, fmt.Errorf("%s is a directory: name a file in it", path)
	}
	t := &Trail{to: &lumberjack.Logger{Filename: path, MaxSize: mostMB, MaxBackups: backups}, logger: logger}
	_, err := t.to.Write(nil)
	return t, err
}

// Failed writes that a key or a client certificate was not let in, or lacks a right. Left
// out is what shows nothing, and wrong keys of a client that has shown too many.
func (t *Trail) Failed(e *auth.Denied, client netip.Addr) {
	switch e.Cause {
	case auth.Missing, auth.TooMany, auth.CertMissing, auth.Handshake:
	default:
		t.write(&auditLine{What: "failed", Key: e.Name, Client: client, Reason: e.Cause})
	}
}

// Read writes that a rider's pings are shown.
func (t *Trail) Read(key, rider string, client netip.Addr) {
	t.write(&auditLine{What: "read", Key: key, Client: client, Rider: rider})
}

// Removed writes that a rider is being removed, and who has asked for it.
func (t *Trail) Removed(key, removal string, client netip.Addr) {
	t.write(&auditLine{What: "removed", Key: key, Client: client, Removal: removal})
}

func (t *Trail) write(e *auditLine) {
	e.At = time.Now().UTC()
	line, err := json.Marshal(e)
	if err == nil {
		line = append(line, '\n')
		t.mu.Lock()
		if t.failed { // half of that line may be there
			line = append([]byte{'\n'}, line...)
		}
		t.mu.Unlock()
		_, err = t.to.Write(line)
	}
	t.mu.Lock()
	first := err != nil && !t.failed
	t.failed = err != nil
	t.mu.Unlock()
	if first {
		t.logger.Error("lines of the audit trail are missing", "error", err)
	}
}

// Close closes the file.
func (t *Trail) Close() error { return t.to.Close() }
