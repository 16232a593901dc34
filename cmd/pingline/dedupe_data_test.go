package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pingline/track/tracktest"
)

const evaluator = "../../../shared/tools/eval_dedupe.py"

// The command run on every set of tracks, at every bound, and compared with
// the counts and errors of a program that shares nothing with it.
func TestDedupeRecordedTracks(t *testing.T) {
	bare := []string{"--accuracy-cap=0", "--live-gap=0", "--max-gap=0", "--idle-flush=0"}
	atMost := map[string]float64{ // kept per cent at 10 m
		"dev_1hz_mixed": 6.8, "dev_gotrack_5s_bus20s": 47.6, "dev_arrival_faults": 6.2,
		"city_1s": 5.8, "city_5s": 28.2, "city_arrival_faults": 5.3, "city_27s": 74.1,
	}
	atMostLive := map[string]float64{"dev_1hz_mixed": 7.3, "dev_gotrack_5s_bus20s": 50}
	for _, kind := range tracktest.Kinds {
		file := tracktest.Find(t, kind).Path
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, metres := range sweepBounds {
				if testing.Short() && metres != 10 {
					continue
				}
				s := keeps(t, file, metres, bare...)
				if limit, ok := atMost[name]; ok && metres == 10 && s.Total.KeptPct > limit {
					t.Errorf("kept %.2f %%, want at most %v", s.Total.KeptPct, limit)
				}
			}
			if limit, ok := atMostLive[name]; ok {
				if s := keeps(t, file, 10); s.Total.KeptPct > limit {
					t.Errorf("kept %.2f %% with the defaults, want at most %v", s.Total.KeptPct, limit)
				}
			}
		})
	}
}

// keeps runs pingline dedupe on a file and checks what it says and has kept. No
// fix may claim a wider bound than metres for its accuracy.
func keeps(t *testing.T, file string, metres float64, args ...string) (s studied) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "kept.ndjson")
	cmd := pinglineCommand(append([]string{"dedupe", file, "--json", "--out=" + out, fmt.Sprintf("--max-error=%v", metres)}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	if err := json.Unmarshal(stdout, &s); err != nil {
		t.Fatal(err)
	}
	if s.Total.OutOfBound != 0 || s.Total.Off.Max > metres || s.Total.Refused > 0 || s.Total.Pings == 0 {
		t.Errorf("%s at %v m: %+v", file, metres, s.Total)
	}
	evaluate(t, file, out, metres, &s.Total)
	return s
}

// evaluate lets another program judge the kept pings of a file.
func evaluate(t *testing.T, file, out string, metres float64, own *counted) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if _, missing := os.Stat(evaluator); err != nil || missing != nil {
		t.Logf("%s at %v m: %.2f %% kept, not evaluated: python3 or ../shared/tools/eval_dedupe.py is absent", filepath.Base(file), metres, own.KeptPct)
		return
	}
	text, err := exec.Command(python, evaluator, file, out, "--json", "--eps", fmt.Sprint(metres)).Output()
	if err != nil {
		t.Fatalf("%s: %v", evaluator, err)
	}
	var other struct {
		Total struct {
			N, Kept, Late, Violations, Foreign int
			KeptPct                            float64 `json:"kept_pct"`
			Gap                                float64 `json:"max_gap_s"`
			Max                                float64 `json:"li_max"`
			P50                                float64 `json:"li_p50"`
			P95                                float64 `json:"li_p95"`
			P99                                float64 `json:"li_p99"`
		}
	}
	if err := json.Unmarshal(text, &other); err != nil {
		t.Fatal(err)
	}
	o := &other.Total
	t.Logf("%s at %v m: %.2f %% kept, largest error %.2f m, %d violations, %d foreign", filepath.Base(file), metres, o.KeptPct, o.Max, o.Violations, o.Foreign)
	if o.Violations != 0 || o.Foreign != 0 {
		t.Errorf("%s at %v m: %d violations, %d foreign", file, metres, o.Violations, o.Foreign)
	}
	if own.Pings != o.N || own.Kept != o.Kept || own.Late != o.Late || own.LongestGap != o.Gap {
		t.Errorf("%s at %v m: own counts %+v, the other's %+v", file, metres, own, o)
	}
	for _, pair := range [][2]float64{{own.Off.Max, o.Max}, {own.Off.P50, o.P50}, {own.Off.P95, o.P95}, {own.Off.P99, o.P99}} {
		if math.Abs(pair[0]-pair[1]) > 0.05 { // the file's positions have more digits
			t.Errorf("%s at %v m: own error %v m, the other's %v m", file, metres, pair[0], pair[1])
		}
	}
}
