package ingest

import (
	"encoding/json"
	"slices"

	"pingline/queue"
)

// losses are runs of commits that the log has lost: the first and the last number of
// each.
//
// The filter draws lines from vertices that may be in the log only. If a commit is lost
// whose entries are in the filter's state, judged or loaded from a checkpoint, the lines
// that rest on it must not be used any more: all tracks begin anew, as they do when a
// replay comes to damage. A loss may be found at any time, by any reader of the log.
type losses [][2]uint64

// lossesOf returns the known losses among the commits from number from to to.
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

// lossNote is a note in the log: the checkpoints from number Since on do not rely on
// the commits in Lost. Without the note the tracks would begin anew at each start until
// the lost commits are trimmed.
type lossNote struct {
	Since uint64
	Lost  losses
}

const (
	lossNoteName = "filter-losses"
	mostNoted    = 1000 // most runs in a note: the newest
)

// note writes l to the log, for the checkpoint behind which the log is read from number
// next on.
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
