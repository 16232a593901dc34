package ingest

import (
	"encoding/json"
	"slices"

	"pingline/queue"
)

// losses are runs of commits that the log has lost: the first number and the last.
//
// The filter draws lines from vertices that may be in the log only. Where a commit is
// lost that is in its state already, be it judged or loaded from a checkpoint, no line
// that rests on it may be used any more: all tracks begin anew, as they do when a replay
// comes to damage. A loss may be found at any time, by whoever reads the log.
type losses [][2]uint64

// lossesOf returns what is known to be lost of the commits from number from to to.
func lossesOf(log *queue.Log, from, to uint64) (l losses) {
	for _, d := range log.Damage() {
		if run := [2]uint64{max(d.From, from), min(d.To, to)}; run[0] <= run[1] {
			l = append(l, run)
		}
	}
	return l
}

// cover reports whether all of m is in l.
func (l losses) cover(m losses) bool {
	for _, run := range m {
		for n := run[0]; n <= run[1]; {
			i := slices.IndexFunc(l, func(r [2]uint64) bool { return r[0] <= n && n <= r[1] })
			if i < 0 {
				return false
			}
			n = l[i][1] + 1
		}
	}
	return true
}

// lossNote is a note of the log: the checkpoints from number Since on do not rely on
// what is Lost. Without it the tracks begin anew at each start until the lost commits
// are trimmed.
type lossNote struct {
	Since uint64
	Lost  losses
}

const (
	lossNoteName = "filter-losses"
	mostNoted    = 1000 // runs; of more the newest
)

// note has the log note l for the checkpoint that leaves the log from number next on to
// be read.
func (l losses) note(log *queue.Log, next uint64) {
	first := log.First()
	l = slices.DeleteFunc(slices.Clone(l), func(run [2]uint64) bool { return run[1] < first })
	text := ""
	if len(l) > 0 {
		b, _ := json.Marshal(lossNote{next, l[max(0, len(l)-mostNoted):]}) // numbers only
		text = string(b)
	}
	if text != log.Note(lossNoteName) {
		log.Change(queue.Change{Notes: map[string]string{lossNoteName: text}})
	}
}

// noted returns the losses on which a checkpoint does not rely.
func noted(log *queue.Log, next uint64) losses {
	var n lossNote
	if json.Unmarshal([]byte(log.Note(lossNoteName)), &n) != nil || n.Since > next {
		return nil
	}
	return n.Lost
}
