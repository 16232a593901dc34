package reshard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pingline/partition"
	"pingline/queue"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// mend begins anew, as any change of shards without this package does, if the positions of an
// era are missing: an older version has run meanwhile, to which they mean nothing, or the file
// was lost.
func (e *Eras) mend() error {
	spaces := []string{e.cfg.Set}
	whole := true
	for i := range e.rec.Eras {
		space := e.rec.Eras[i].space(e.cfg.Set)
		_, has := resume.Lowest(e.cfg.Log, space)
		whole = whole && has
		spaces = append(spaces, space)
	}
	if whole && e.rec.open(false) != nil {
		return nil
	}
	at, _ := resume.Lowest(e.cfg.Log, spaces...)
	if at.Next == 0 {
		var err error
		if at, err = resume.Beginning(e.cfg.Log); err != nil {
			return err
		}
	}
	e.logger.Warn("the shards were changed, and their positions in the log are missing: all lanes start anew", "layout", e.rec.InForce().String(), "from", at.Next)
	rec := e.rec.clone()
	rec.Read = addNames(addNames(rec.Read, rec.needs()...), e.flags().Names()...) // an older version writes to those of the flags
	rec.Eras = nil
	rec.settle(rec.InForce())
	var change queue.Change
	for _, space := range spaces {
		resume.Drop(&change, e.cfg.Log, space)
	}
	era := rec.begin(rec.New, nil, at)
	if err := e.beginIn(&change, *era); err != nil {
		return err
	}
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	e.cfg.Log.Change(change)
	e.rec = rec
	return e.cfg.Log.KeepCursors()
}

// sweep drops positions of eras that the record does not have. The log would be kept for them for
// ever.
func (e *Eras) sweep() {
	spaces := make(map[string]bool)
	for name := range e.cfg.Log.Cursors() {
		space, ok := resume.SpaceOf(name)
		if set, _, of := strings.Cut(space, route.EraSep); ok && of && set == cmp.Or(e.cfg.Set, "main") {
			spaces[space] = true
		}
	}
	if e.rec != nil {
		for i := range e.rec.Eras {
			delete(spaces, e.rec.Eras[i].space(e.cfg.Set))
		}
	}
	if len(spaces) == 0 {
		return
	}
	var change queue.Change
	for _, space := range sortedKeys(spaces) {
		e.logger.Warn("positions in the log of a layout that is not in force any more are dropped", "layout", space)
		resume.Drop(&change, e.cfg.Log, space)
	}
	e.cfg.Log.Change(change)
}

func (e *Eras) beginIn(change *queue.Change, era Era) error {
	cfg, err := e.config(era)
	if err != nil {
		return err
	}
	l := cfg.Layout()
	lines := era.From
	if era.lines != nil {
		lines = *era.lines
	}
	resume.Begin(change, &l, era.From, lines)
	return nil
}

// sayGone notes that shards which are read only are not known any more.
func (e *Eras) sayGone() {
	var change queue.Change
	gone := slices.DeleteFunc(slices.Clone(e.rec.Read), func(name string) bool { return e.known(name) != nil })
	if len(gone) == 0 {
		return
	}
	e.rec.Read = slices.DeleteFunc(e.rec.Read, func(name string) bool { return slices.Contains(gone, name) })
	gone = slices.DeleteFunc(gone, func(name string) bool { return slices.Contains(e.cfg.Moved, name) })
	resume.NoteGone(&change, e.cfg.Log, e.cfg.Set, gone...)
	resume.NoteEras(&change, e.cfg.Set, e.rec.String())
	e.cfg.Log.Change(change)
}

// readBack has shards read again that were read only until no flag named them, and are named again.
func (e *Eras) readBack() {
	var back []string
	for name := range resume.RemovedFrom(e.cfg.Log, e.cfg.Set) {
		if e.known(name) != nil && !slices.Contains(e.rec.needs(), name) {
			back = append(back, name)
		}
	}
	if len(back) == 0 {
		return
	}
	slices.Sort(back)
	e.rec.Read = addNames(e.rec.Read, back...)
	var change queue.Change
	resume.NoteBack(&change, e.cfg.Log, e.cfg.Set, back...)
	resume.NoteEras(&change, e.cfg.Set, e.rec.String())
	e.cfg.Log.Change(change)
}

// sayContradiction logs how the flags differ from the log.
func (e *Eras) sayContradiction() {
	flags, log := e.flags(), e.rec.InForce()
	var differ []string
	for _, sh := range flags {
		i := slices.IndexFunc(log, func(s partition.Shard) bool { return s.Name == sh.Name })
		switch {
		case i < 0 && !slices.Contains(append(e.rec.needs(), e.rec.Read...), sh.Name):
			differ = append(differ, fmt.Sprintf("%s is not in force", sh.Name))
		case i >= 0 && log[i].Weight != sh.Weight:
			differ = append(differ, fmt.Sprintf("%s has the weight %v in the flags, %v in force", sh.Name, sh.Weight, log[i].Weight))
		}
	}
	if len(differ) > 0 {
		e.logger.Warn("the flags have other shards than the log: the log is followed, pingline reshard changes it", "in_force", log.String(), "flags", flags.String(), "differ", strings.Join(differ, "; "))
	}
}
