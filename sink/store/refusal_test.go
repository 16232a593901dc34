package store

import (
	"strings"
	"testing"
)

func TestClipKeepsBothEnds(t *testing.T) {
	got := Clip("partial write: " + strings.Repeat("é", 5000) + " dropped=3")
	if len(got) > maxText || !strings.HasPrefix(got, "partial write: é") || !strings.HasSuffix(got, "é dropped=3") {
		t.Errorf("clip gave %d bytes: %.30q … %q", len(got), got, got[len(got)-20:])
	}
	if got := Clip("short\xff"); got != "short?" {
		t.Errorf("clip = %q", got)
	}
}
