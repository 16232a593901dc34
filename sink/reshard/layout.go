package reshard

import (
	"context"
	"fmt"
	"slices"

	"pingline"
	"pingline/partition"
	"pingline/sink"
	"pingline/sink/route"
	"pingline/sink/store"
)

// nowhere is the store of the rows that are for others: it keeps none.
type nowhere struct{}

func (nowhere) AppendRow(dst []byte, _ *pingline.Entry) []byte { return append(dst, '.') }
func (nowhere) Write(context.Context, store.Rows) error        { return nil }
func (nowhere) Close() error                                   { return nil }

// Nobody is the shard of the rows that are for others.
func Nobody() sink.ShardStore { return sink.ShardStore{Name: route.Nobody, Store: nowhere{}} }

// UnknownError says that a shard is in force, or has rows to get still, and that no flag tells where
// it is.
type UnknownError struct {
	Shard string
	InUse string // the layout of the log
	Was   bool   // the shard is not in it
}

func (e *UnknownError) Error() string {
	if e.Was {
		return fmt.Sprintf("shard %s is not in force (%s are), but its change by pingline reshard is not finished, or rows wait for it: add --shard name=%s,url=… until pingline reshard status shows nothing that waits", e.Shard, e.InUse, e.Shard)
	}
	return fmt.Sprintf("shard %s is in force since it was added by pingline reshard (%s), and no --shard names it: add --shard name=%s,url=…", e.Shard, e.InUse, e.Shard)
}

// flags is the layout of the flags.
func (e *Eras) flags() (s Spread) {
	if e.cfg.Spread == nil {
		return Spread{{Name: e.cfg.Shards[0].Name, Weight: 1}}
	}
	for i := range e.cfg.Spread.Len() {
		s = append(s, e.cfg.Spread.At(i))
	}
	return s
}

// known returns the store of a name, and nil if there is none. The caller holds mu, or is Open.
func (e *Eras) known(name string) store.Store {
	for _, sh := range e.shards {
		if sh.Name == name {
			return sh.Store
		}
	}
	return nil
}

// config returns the settings of the sink of an era.
func (e *Eras) config(era Era) (sink.Config, error) {
	c := e.cfg
	c.Era = era.name()
	if len(era.Spread) == 0 {
		return c, nil // as the flags have it
	}
	if err := e.layOut(&c, era.Spread, era.mirror()); err != nil {
		return c, err
	}
	if era.mirror() {
		other := c
		if err := e.layOut(&other, era.Beside, true); err != nil {
			return c, err
		}
		l := other.Layout()
		c.Beside = &l
	}
	e.watchLacks(era, &c.GaveUp, &c.Refused, &c.StoodIn)
	return c, nil
}

// layOut has c spread rows over the shards of a layout; what flags lead elsewhere goes there.
func (e *Eras) layOut(c *sink.Config, spread Spread, nobody bool) (err error) {
	if c.Spread, err = partition.NewShards(spread...); err != nil {
		return err
	}
	c.Shards, c.Nobody = nil, 0
	add := func(name string) int {
		i := slices.IndexFunc(c.Shards, func(s sink.ShardStore) bool { return s.Name == name })
		if to := e.known(name); i < 0 && to != nil {
			i, c.Shards = len(c.Shards), append(c.Shards, sink.ShardStore{Name: name, Store: to})
		}
		return i
	}
	for _, name := range spread.Names() {
		if add(name) < 0 {
			return &UnknownError{Shard: name, InUse: spread.String()}
		}
	}
	over := 1
	if e.cfg.Spread != nil {
		over = e.cfg.Spread.Len()
	}
	for i, sh := range e.cfg.Shards {
		if i >= over && sh.Name != route.Nobody { // a bucket that only a route leads to
			add(sh.Name)
		}
	}
	c.Routes = make(map[string]int)
	for kind, to := range e.cfg.Routes {
		if name := e.cfg.Shards[to].Name; name != route.Nobody {
			c.Routes[kind] = add(name)
		}
	}
	if e.cfg.Nobody == 0 && !nobody {
		return nil
	}
	c.Nobody = len(c.Shards)
	c.Shards = append(c.Shards, Nobody())
	for kind, to := range e.cfg.Routes {
		if e.cfg.Shards[to].Name == route.Nobody {
			c.Routes[kind] = c.Nobody
		}
	}
	return nil
}
