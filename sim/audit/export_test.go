package audit

import (
	"os"
	"time"
)

// SetClock sets the clock by which answers come.
func (l *AckLog) SetClock(now func() time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
}

// Redirect has what follows written to another file.
func (l *AckLog) Redirect(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		l.file = file
	}
	return err
}

// DecodeAckBlock decodes the plain form of a block, and encodes it again.
func DecodeAckBlock(plain []byte) (again []byte, err error) {
	var b ackBlock
	if err := b.decode(plain); err != nil {
		return nil, err
	}
	return b.append(nil), nil
}
