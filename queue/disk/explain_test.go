package disk

import (
	"errors"
	"strings"
	"testing"
)

// The reason why a disk takes nothing is told in words, whoever said it.
func TestDiskTroubleIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"JetStream stream '$G > PINGLINE' critical write error: write 1.blk: no space left on device": "no space left on /data",
		"write probe: disk quota exceeded":                         "no space left on /data",
		"open spare.new: read-only file system":                    "/data is on a file system that is read-only",
		"Critical write error: sync 1.blk: input/output error":     "the disk under /data fails",
		"permission denied while writing msg, disabling JetStream": "/data may not be written",
		"something else": "something else",
	} {
		if got := Explain("/data", errors.New(text)).Error(); !strings.Contains(got, want) {
			t.Errorf("%s is told as %s, want %s", text, got, want)
		}
	}
}
