package main

import (
	"encoding/binary"
	"os"
	"time"
)

// skew is how far the clock of a program is off that is built with tools/clock/overlay: its file
// is part of the program's memory, so that a change is a step of the clock.
type skew struct{ file string }

func (s *skew) set(by time.Duration) {
	f, err := os.OpenFile(s.file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second)))) // #nosec G115: bits
	_ = f.Close()
}
