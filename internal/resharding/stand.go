package resharding

import (
	"fmt"
	"slices"

	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// partStand is how far a part is, as its node tells others.
type partStand struct {
	reshard.Stand
	Status  reshard.SetStatus  `json:"status"`
	Shards  map[string]string  `json:"shards"` // where each shard is that the node knows
	Trouble string             `json:"trouble,omitempty"`
	Erasing bool               `json:"erasing,omitempty"` // a rider is being removed
	History *moving.MoveStatus `json:"history,omitempty"` // of part 0
}

// PartChange is how far the change of a set is in a part of the riders.
type PartChange struct {
	Part          int                 `json:"part"`
	Node          string              `json:"node"` // "": it has none
	ID            string              `json:"id,omitempty"`
	Phase         reshard.ChangePhase `json:"phase,omitempty"` // "": it is not known
	Remaining     uint64              `json:"remaining"`
	MirrorSeconds float64             `json:"mirror_seconds"`
	MirrorQueued  uint64              `json:"mirror_queued"`
	Behind        string              `json:"behind,omitempty"` // why the part holds the change back
}

// steps orders how far parts are.
func steps(s *partStand) int {
	return 4*reshard.Number(s.ID) + map[reshard.ChangePhase]int{reshard.Dual: 0, reshard.Cut: 1, reshard.Settled: 2}[s.Phase]
}

// sum puts the figures of all parts together.
func sum(least, most *partStand, known []*partStand) reshard.SetStatus {
	w := least.Status
	w.ID, w.Do = most.ID, most.Status.Do
	w.Remaining, w.Mirror, w.MirrorSeconds, w.MirrorQueued, w.MirrorLetters, w.MirrorGivenUp, w.LetGo, w.ReadOnly = 0, false, 0, 0, 0, 0, nil, nil
	if w.Phase == reshard.Settled && most.Phase != reshard.Settled {
		w.Old, w.New = most.Old, most.New
	}
	for _, s := range known {
		w.Remaining += s.Status.Remaining
		w.Mirror = w.Mirror || s.Status.Mirror
		w.MirrorSeconds = max(w.MirrorSeconds, s.Status.MirrorSeconds)
		w.MirrorQueued += s.Status.MirrorQueued
		w.MirrorLetters += s.Status.MirrorLetters
		w.MirrorGivenUp += s.Status.MirrorGivenUp
		w.LetGo = join(w.LetGo, s.Status.LetGo)
		w.ReadOnly = join(w.ReadOnly, s.Status.ReadOnly)
	}
	return w
}

func join(list, more []string) []string {
	for _, name := range more {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// behind says how a part holds a change back, "" if it does not.
func behind(s, most *partStand) string {
	switch {
	case s.InForce.String() != most.InForce.String() && s.ID == most.ID && s.Phase == most.Phase:
		return fmt.Sprintf("it writes to %s: start all nodes with the same --shard", s.InForce)
	case reshard.Number(s.ID) < reshard.Number(most.ID) && most.Phase == reshard.Settled:
		return "it has not ended before " + most.ID
	case reshard.Number(s.ID) < reshard.Number(most.ID):
		return "it has not begun " + most.ID
	case steps(s) < steps(most):
		return fmt.Sprintf("it is in phase %s, and another part in %s: repeat the step", s.Phase, most.Phase)
	case s.Unready != "":
		return s.Unready
	case s.Phase != reshard.Settled && s.Written < s.From:
		return fmt.Sprintf("rows of before the change are being written: commit %d of %d", s.Written, s.From)
	}
	return ""
}

// going returns the change that is going on in some parts, and that of the newest part; nil if none is.
func going(all []*partStand) *partStand {
	var is *partStand
	for _, s := range all {
		if s.Phase != reshard.Settled && (is == nil || reshard.Number(s.ID) > reshard.Number(is.ID)) {
			is = s
		}
	}
	return is
}

func newest(all []*partStand) (n int) {
	for _, s := range all {
		n = max(n, reshard.Number(s.ID))
	}
	return n
}

// sameBefore returns an error unless the parts that have not begun a change have the layout of
// before, with each shard at the same place.
func sameBefore(say func(int) string, all []*partStand, now *partStand) error {
	before := all[0].InForce
	if now != nil {
		before = now.Old
	}
	for part, s := range all {
		if now != nil && s.Phase != reshard.Settled && s.ID == now.ID {
			continue
		}
		switch {
		case s.Phase != reshard.Settled:
			return &reshard.RefusedError{Why: fmt.Sprintf("%s is in phase %s of %s: finish or abort it first", say(part), s.Phase, s.ID)}
		case s.InForce.String() != before.String():
			return &reshard.RefusedError{Why: fmt.Sprintf("%s writes to the shards %s, and %s to %s: start all nodes with the same --shard", say(part), s.InForce, say(0), before)}
		}
	}
	for part, s := range all {
		if err := samePlaces(say, before.Names(), 0, all[0].Shards, part, s.Shards); err != nil {
			return err
		}
	}
	return nil
}

// samePlaces returns an error if a shard is elsewhere for the nodes of two parts.
func samePlaces(say func(int) string, names []string, a int, of map[string]string, b int, other map[string]string) error {
	for _, name := range names {
		x, y := of[name], other[name]
		switch {
		case x == "" || y == "":
			part := b
			if x == "" {
				part = a
			}
			return &reshard.RefusedError{Why: fmt.Sprintf("%s does not know shard %s: start its node with the --shard of it, or give name=%s,url=…", say(part), name, name)}
		case x != y:
			return &reshard.RefusedError{Why: fmt.Sprintf("shard %s is %s for %s, and %s for %s: start all nodes with the same --shard", name, x, say(a), y, say(b))}
		}
	}
	return nil
}

// elsewhere says which shard in use is elsewhere for another part, "" for none.
func elsewhere(say func(int) string, own int, reading []string, all []*partStand, errs []error) string {
	if errs[own] != nil {
		return ""
	}
	for part, s := range all {
		if errs[part] != nil {
			continue
		}
		for _, name := range reading {
			x, y := all[own].Shards[name], s.Shards[name]
			if x != "" && y != "" && x != y {
				return fmt.Sprintf("shard %s is %s here, and %s for %s: start all nodes with the same --shard", name, x, y, say(part))
			}
		}
	}
	return ""
}
