package unit

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "1.5d": 36 * time.Hour, "90m": 90 * time.Minute, "0": 0, "0d": 0} {
		var s Span
		if err := s.UnmarshalText([]byte(text)); err != nil || time.Duration(s) != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
		var again Span
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written %v, which reads %v, %v", text, s, again, err)
		}
	}
	var s Span
	for _, text := range []string{"", "d", "3", "NaNd", "1e300d", "-Infd"} {
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: read as %v", text, s)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"512MiB": 512 << 20, "8GiB": 8 << 30, "1MB": 1e6, "7": 7} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %v, %v", text, b, err)
		}
	}
	var b Bytes
	for _, text := range []string{"", "lots", "-1", "1e30", "16EiB"} {
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: read as %v", text, b)
		}
	}
}
