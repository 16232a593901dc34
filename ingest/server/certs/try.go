package certs

import (
	"fmt"
	"strings"
	"time"
)

// Try reads the files of TLS, and returns until when the certificate is good, or what is wrong
// and a remedy.
func Try(cfg Config) (found, remedy string) {
	s, err := Open(cfg)
	if err != nil {
		return err.Error(), "put the file right, or name another"
	}
	if notes := s.Notes(); len(notes) > 0 {
		return strings.Join(notes, "; "), "put a new file in its place"
	}
	return fmt.Sprintf("%s expires on %s", cfg.Cert, s.Expires().UTC().Format(time.DateOnly)), ""
}
