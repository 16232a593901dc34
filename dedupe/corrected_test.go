package dedupe

import (
	"testing"

	"pingline"
	"pingline/track/tracktest"
)

// A ping whose time is a guess is stored and late, wherever it falls, and the line of its
// track is what it is without it.
func TestCorrectedTimesMoveNoLine(t *testing.T) {
	pings := tracksOf(t, tracktest.EverySecond)
	if len(pings) > 3000 {
		pings = pings[:3000]
	}
	with, without := newRun(t, DefaultConfig(), Bound{MaxError: 10}), newRun(t, DefaultConfig(), Bound{MaxError: 10})
	guesses := 0
	for i, p := range pings {
		without.judge(p)
		with.judge(p)
		if i%7 != 0 {
			continue
		}
		guess := off(p, 400)
		guess.At += int64(i%5-2) * 30_000
		guess.Corrected = true
		if i%3 == 0 {
			guess.Event = "sos"
		}
		guesses++
		if v := with.judge(guess); v != pingline.Accepted {
			t.Fatalf("guess %d is %v", i, v)
		}
	}
	wantLine, wantLate, _ := without.finish()
	line, late, worst := with.finish()
	if line != wantLine || late != wantLate+guesses || guesses == 0 {
		t.Errorf("%d vertices and %d late, want %d and %d+%d; worst error %.2f m", line, late, wantLine, wantLate, guesses, worst)
	}
}

// A track that begins with a guess begins with its first ping that is none.
func TestTrackBeginsBehindCorrectedTimes(t *testing.T) {
	r := newRun(t, DefaultConfig(), Bound{MaxError: 10})
	guess := second(100)
	guess.Corrected = true
	r.judge(guess)
	r.judgeAll(straight(0, 50))
	line, late, _ := r.finish()
	if line < 2 || late != 1 {
		t.Errorf("%d vertices, %d late", line, late)
	}
}
