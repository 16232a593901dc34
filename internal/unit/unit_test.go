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

func TestNumbersForPeople(t *testing.T) {
	for got, want := range map[string]string{
		Size(1.5 * (1 << 30)): "1.5 GiB", Size(-1): "0 B",
		Comma(12000): "12,000", Comma(999): "999", Comma(-1234567.5): "-1,234,567.5",
		Number(2.50): "2.5", Number(10): "10",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 pings wait", 1: "1 ping waits", 2: "2 pings wait", 20_000: "20000 pings wait"} {
		if got := Plural(n, "ping waits", "pings wait"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
