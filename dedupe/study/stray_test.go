package study

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/dedupe"
	"pingline/track"
)

// A ping whose time lies far from the rest of its track is named by file and line, and
// the report says what the late pings are that come of it.
func TestStrayTimes(t *testing.T) {
	const years = 10 * 365 * dayMs
	for _, tt := range []struct {
		name string
		off  map[int]int64 // ms that the time of a ping is off, by its number
		want []string      // of the notes, behind the name of the file
		late bool
	}{
		{"none", nil, nil, false},
		{"ten years ahead", map[int]int64{30: years}, []string{"line 31: its time, 2035-10-07 12:00 UTC, is 3650 days ahead of those around it; those that follow may be late"}, true},
		{"two days behind", map[int]int64{30: -2 * dayMs}, []string{"line 31: its time, 2025-10-07 12:00 UTC, is 2 days behind those around it"}, false},
		{"the first two days ahead", map[int]int64{0: 2 * dayMs}, []string{"line 1: its time, 2025-10-11 12:00 UTC, is 2 days ahead of those around it; those that follow may be late"}, false},
		{"the first on the day before", map[int]int64{0: -dayMs}, nil, false},
		{"the last ten years ahead", map[int]int64{120: years}, []string{"line 121: its time, 2035-10-07 12:02 UTC, is 3650 days ahead of those around it"}, false},
		{"the last a day later", map[int]int64{120: 2 * dayMs}, nil, false},
		{"seven", map[int]int64{10: -years, 20: -years, 30: -years, 40: -years, 50: -years, 60: -years, 70: -years}, []string{
			"line 11: ", "line 21: ", "line 31: ", "line 41: ", "line 51: ", "2 more times far from those around them"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text []byte
			pings := corner(t, "r-1", noon)
			for i := range pings {
				pings[i].At += tt.off[i]
				pings[i].LatE7 += int32(i%2) * 9000 // each says something new
				text = append(track.AppendPing(text, &pings[i]), '\n')
			}
			path := filepath.Join(t.TempDir(), "a.ndjson")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			notes, printed := studyOf(t, path)
			lines := strings.Split(strings.TrimSuffix(notes, "\n"), "\n")
			if len(tt.want) == 0 && notes != "" || len(tt.want) > 0 && len(lines) != len(tt.want) {
				t.Fatalf("noted %q, want %q", notes, tt.want)
			}
			for i, want := range tt.want {
				if want := "note: " + path + " " + want; !strings.HasPrefix(lines[i], want) && lines[i] != fmt.Sprintf("note: %s in %s", tt.want[i], path) {
					t.Errorf("noted %q, want %q", lines[i], want)
				}
			}
			if explained := strings.Contains(printed, "\nLate pings came behind newer ones"); explained != tt.late {
				t.Errorf("the report says what late pings are: %v, want %v\n%s", explained, tt.late, printed)
			}
		})
	}
}

// studyOf returns what a study of one file notes, and what it prints.
func studyOf(t *testing.T, path string) (notes, printed string) {
	t.Helper()
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var noted, out strings.Builder
	cfg := dedupe.DefaultConfig()
	cfg.MaxRiders = 10
	s, err := New(Config{Filter: cfg, Bound: dedupe.Bound{MaxError: 10}, Notes: &noted})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := s.Summary().Print(&out); err != nil {
		t.Fatal(err)
	}
	return noted.String(), out.String()
}

// A track of fewer than three pings has no rest that one could lie far from.
func TestStrayOfFew(t *testing.T) {
	var s strays
	s.add(0, pingTime{noon, 1})
	s.add(0, pingTime{noon + farAtEnd*2, 2})
	s.add(1, pingTime{noon, 3})
	var b strings.Builder
	if s.tell(&b, "a"); b.String() != "" {
		t.Errorf("noted %s", b.String())
	}
}
