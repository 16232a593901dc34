package resharding

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"pingline/internal/pause"
	"pingline/queue"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// wholeStatus is how far all parts are. The phase is that of the part which is farthest behind.
func (c *Changes) wholeStatus(ctx context.Context, e *reshard.Eras) ChangeStatus {
	set := e.Status().Set
	all := make([]*partStand, c.cfg.Across.Parts)
	errs := c.eachPart(ctx, partQuestion{Do: "stand", Set: set}, quick, func(part int) any {
		all[part] = new(partStand)
		return all[part]
	})
	known := make([]*partStand, 0, len(all))
	for part, err := range errs {
		if err == nil {
			known = append(known, all[part])
		} else {
			all[part] = nil
		}
	}
	w := ChangeStatus{SetStatus: e.Status()}
	if len(known) == 0 {
		return w
	}
	least, most := known[0], known[0]
	for _, s := range known {
		if steps(s) < steps(least) {
			least = s
		}
		if steps(s) > steps(most) {
			most = s
		}
	}
	w.SetStatus = sum(least, most, known)
	if all[0] != nil {
		w.History = all[0].History
	}
	for part, s := range all {
		p := PartChange{Part: part, Node: c.cfg.Across.Name(part)}
		if s == nil {
			p.Behind = strings.TrimPrefix(errs[part].Error(), c.cfg.Across.say(part)+" "+holdsBack+": ")
			if p.Node == "" {
				p.Behind = "the part has no node"
			}
		} else {
			p.ID, p.Phase, p.Remaining, p.MirrorSeconds, p.MirrorQueued = s.ID, s.Phase, s.Status.Remaining, s.Status.MirrorSeconds, s.Status.MirrorQueued
			p.Behind = behind(s, most)
		}
		w.Parts = append(w.Parts, p)
	}
	return w
}

// others are the other parts, for the history of a set.
type others struct {
	c   *Changes
	set string
}

func (o *others) stands(ctx context.Context) ([]*partStand, error) { return o.c.stands(ctx, o.set) }

// Behind returns why parts are not as far as this one, with all of before in the old shards.
func (o *others) Behind(ctx context.Context, rec *reshard.SetRecord) string {
	all, err := o.stands(ctx)
	if err != nil {
		return err.Error()
	}
	for part, s := range all {
		switch {
		case part == o.c.cfg.Across.Own:
		case s.ID != rec.ID || s.Phase != rec.Phase || s.InForce.String() != rec.InForce().String():
			return fmt.Sprintf("%s is in phase %s of %s", o.c.cfg.Across.say(part), s.Phase, orNone(s.ID))
		case s.Erasing:
			return "a rider is being removed by " + o.c.cfg.Across.say(part)
		case s.Written < s.From:
			return fmt.Sprintf("rows of before the change are being written by %s, holes included: commit %d of %d", o.c.cfg.Across.say(part), s.Written, s.From)
		}
	}
	return ""
}

// Level returns a function that says what is left until the shards have all that the logs of other parts have now.
func (o *others) Level(ctx context.Context) (left func(ctx context.Context) string) {
	var heads []uint64
	return func(ctx context.Context) string {
		all, err := o.stands(ctx)
		if err != nil {
			return err.Error()
		}
		if heads == nil {
			for _, s := range all {
				heads = append(heads, s.Head)
			}
		}
		for part, s := range all {
			if part != o.c.cfg.Across.Own && s.WrittenAll <= heads[part] {
				return "rows of " + o.c.cfg.Across.say(part) + " are being written"
			}
		}
		return ""
	}
}

// LetGo returns the days of which mirrors of other parts gave rows up, and how many.
func (o *others) LetGo(ctx context.Context) (days []string, given uint64, err error) {
	all, err := o.stands(ctx)
	for part, s := range all {
		if err == nil && part != o.c.cfg.Across.Own {
			days, given = join(days, s.LetGo), given+s.GivenUp
		}
	}
	return days, given, err
}

func (o *others) each(ctx context.Context, q partQuestion) error {
	q.Set = o.set
	for part := range o.c.cfg.Across.Parts {
		if part != o.c.cfg.Across.Own {
			if err := o.c.askPart(ctx, part, q, slowly, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Filled notes in other parts that the rows of days which a mirror gave up were copied since.
func (o *others) Filled(ctx context.Context, days []string) error {
	return o.each(ctx, partQuestion{Do: "filled", Names: days})
}

// Unread notes in other parts that shards have nothing any more.
func (o *others) Unread(ctx context.Context, id string, names []string) error {
	return o.each(ctx, partQuestion{Do: "unread", ID: id, Names: names})
}

// Time between two looks at what other parts read and do: while shards are changed or history is
// moved, and else.
const (
	lookAtOthers = time.Second
	lookSeldom   = 5 * time.Second
)

// follow has the shards be read that other parts read, until ctx ends.
func (c *Changes) follow(ctx context.Context) error {
	said := make(map[string]string)
	for ctx.Err() == nil {
		wait := lookSeldom
		for _, set := range c.cfg.Sinks.Changes() {
			if c.readWithOthers(ctx, set.Set, said) {
				wait = lookAtOthers
			}
		}
		_ = pause.For(ctx, wait) // ctx has ended
	}
	return nil
}

// readWithOthers looks at the other parts, and reports whether something goes on.
func (c *Changes) readWithOthers(ctx context.Context, set string, said map[string]string) (busy bool) {
	e, all := c.cfg.Sinks.Of(set), make([]*partStand, c.cfg.Across.Parts)
	c.seen.Lock()
	yields := c.yields
	c.seen.Unlock()
	errs := c.eachPart(ctx, partQuestion{Do: "stand", Set: set}, quick, func(part int) any {
		all[part] = new(partStand)
		return all[part]
	})
	c.seen.Lock()
	defer c.seen.Unlock()
	if c.reads == nil {
		c.reads = make(map[string][][]string)
	}
	if c.reads[set] == nil {
		c.reads[set] = make([][]string, len(all))
	}
	var names []string
	for part := range all {
		if part == c.cfg.Across.Own {
			continue
		}
		if errs[part] == nil { // else it is as it was
			c.reads[set][part] = all[part].Read
		}
		names = join(names, c.reads[set][part])
	}
	if c.trouble == nil {
		c.trouble = make(map[string]string)
	}
	h := c.mover(set).Status()
	busy = h != nil && h.Works()
	lack, trouble, hold := false, "", ""
	for part, s := range all {
		switch {
		case errs[part] != nil:
			hold = cmp.Or(hold, errs[part].Error())
			continue
		case part != c.cfg.Across.Own:
			trouble = cmp.Or(trouble, s.Trouble)
			if s.Erasing {
				hold = "a rider is being removed by " + c.cfg.Across.say(part)
			}
		}
		busy = busy || s.Phase != reshard.Settled
		lack = lack || part != c.cfg.Across.Own && errs[part] == nil && len(s.LetGo) > 0
	}
	c.trouble[set] = trouble
	if c.yields == yields { // else what was seen may be older than the removal of a rider
		c.hold = hold
	}
	c.mover(set).OthersLack(lack)
	text := elsewhere(c.cfg.Across.say, c.cfg.Across.Own, e.Reading(), all, errs)
	if unknown := e.ReadOthers(names); len(unknown) > 0 {
		text = fmt.Sprintf("other nodes have rows in the shards %s of the set %s, which no --shard names here: reads miss them", strings.Join(unknown, ", "), set)
	}
	if text != "" && text != said[set] {
		c.cfg.Logger.Warn(text)
	}
	said[set] = text
	return busy
}

// Holds returns why another part has nothing be moved for now, or "".
func (o *others) Holds() string {
	o.c.seen.Lock()
	defer o.c.seen.Unlock()
	return o.c.hold
}

// yield stops moving history for the removal of a rider by another part, which is looked at until it
// is over.
func (c *Changes) yield(part int) {
	c.seen.Lock()
	c.yields++
	c.hold = "a rider is being removed by " + c.cfg.Across.say(part)
	c.seen.Unlock()
	for _, m := range c.movers {
		m.Yield()
	}
}

// yieldThere has the node stop that moves history, if it is another. A node that takes its part asks
// first whether a rider is being removed.
func (c *Changes) yieldThere() {
	a := &c.cfg.Across
	if !a.on() || a.first() {
		return
	}
	for a.Name(0) != "" {
		err := c.askPart(context.Background(), 0, partQuestion{Do: "yield", Part: a.Own}, slowly, nil)
		if err == nil {
			return
		}
		c.cfg.Logger.Warn("a rider is removed once the node answers that moves history", "error", err)
		select {
		case <-c.ended:
			return
		case <-time.After(time.Second):
		}
	}
}

// moveNote is the note of the state of moved history, behind the name of the set.
const moveNote = "reshard move "

// othersOf returns the other parts, nil if there are none.
func (c *Changes) othersOf(set string) moving.OtherLogs {
	if !c.cfg.Across.on() {
		return nil
	}
	return &others{c, set}
}

// Node returns the name of this node.
func (o *others) Node() string { return o.c.cfg.Node }

// Load returns the state of moved history.
func (o *others) Load() string { return o.c.cfg.History.Log.Note(moveNote + o.set) }

// Keep keeps the state of moved history with the log.
func (o *others) Keep(state string) error {
	log := o.c.cfg.History.Log
	log.Change(queue.Change{Notes: map[string]string{moveNote + o.set: state}})
	return log.KeepCursors()
}

// troubledAnywhere returns a shard that takes no writes of some part, or that others stand in for, or "".
func (c *Changes) troubledAnywhere(set string, eras *reshard.Eras) string {
	if name := troubled(eras); name != "" || !c.cfg.Across.on() {
		return name
	}
	c.seen.Lock()
	defer c.seen.Unlock()
	return c.trouble[set]
}
