package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"pingline"
	"pingline/sink/store"
)

// AppendRow appends e as a row: see rowHead.
func (p *Whereabouts) AppendRow(dst []byte, e *pingline.Entry) []byte { return appendRow(dst, e) }

// Write makes an attempt to write rows, as store.Store wants it.
func (p *Whereabouts) Write(ctx context.Context, rows store.Rows) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write to %s: %w", p.at.addr, err)
	}
	p.start.Do(func() { p.done.Go(p.tend) })
	list, refused := newestOf(string(rows.Bytes))
	if refused != nil {
		return fmt.Errorf("write to %s: %w", p.at.addr, refused)
	}
	if rows.N > 0 && len(list) == 0 {
		return nil // all of it is for other stores
	}
	// The client ends a command at ctx's deadline, and not when ctx is called off.
	written := make(chan error, 1)
	p.done.Go(func() { written <- p.with(func(c *connected) error { return p.sendAll(ctx, c, list) }) })
	var err error
	select {
	case err = <-written:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	if at, has := ctx.Deadline(); has && !time.Now().Before(at) {
		<-ctx.Done() // the client's clock may be ahead of ctx's by a moment
	}
	if ctx.Err() != nil {
		return fmt.Errorf("write to %s: %w", p.at.addr, ctx.Err())
	}
	if other := new(foreignKeys); errors.As(err, &other) {
		err = p.refusalOf(other, string(rows.Bytes))
	}
	return fmt.Errorf("write to %s: %w", p.at.addr, refusal(err))
}

// foreignKeys is the error that keys of riders, who are not written, are no hashes.
type foreignKeys struct{ keys map[any]bool }

func (e *foreignKeys) Error() string {
	return fmt.Sprintf("WRONGTYPE the keys of %d riders are of another type", len(e.keys))
}

// foreignIn returns a *foreignKeys of commands, or nil if there are no such keys.
func foreignIn(cmds ...*redis.Cmd) error {
	var keys map[any]bool
	for _, cmd := range cmds {
		if redis.HasErrorPrefix(cmd.Err(), riderType) {
			if keys == nil {
				keys = make(map[any]bool)
			}
			keys[cmd.Args()[hashArg]] = true
		}
	}
	if keys == nil {
		return nil
	}
	return &foreignKeys{keys}
}

// refusalOf returns the refusal of all rows of riders whose keys are no hashes. Rows of theirs
// that are not the newest would be refused in their place.
func (p *Whereabouts) refusalOf(other *foreignKeys, rows string) *store.Refusal {
	r := &store.Refusal{Kind: store.BadRows, Reason: store.TypeConflict, Err: other}
	n := 0
	for ; ; n++ {
		kind, body, rest, ok := cutRow(rows)
		if !ok {
			break
		}
		if rows = rest; kind == rowPing {
			_, texts := tsOf(body)
			if rider, _, _ := cutText(texts); other.keys[p.tagOf(rider).riders+rider] {
				r.Suspects = append(r.Suspects, n)
			}
		}
	}
	r.All = len(r.Suspects) == n
	return r
}

// newestPing is the newest ping of a rider among the rows of a write.
type newestPing struct {
	ts           int64
	rider, texts string // texts: what is behind the rider
}

// newestOf returns the newest ping of each rider, of two with the same ts the last, in the
// order in which riders come. It refuses rows that cannot be kept.
func newestOf(rows string) (list []newestPing, refused *store.Refusal) {
	index := make(map[string]int)
	var suspects []int
	n := 0
	for {
		kind, body, rest, ok := cutRow(rows)
		if !ok {
			break
		}
		rows = rest
		switch kind {
		case rowBad:
			suspects = append(suspects, n)
		case rowPing:
			ts, texts := tsOf(body)
			rider, texts, _ := cutText(texts)
			i, known := index[rider]
			if !known {
				i = len(list)
				index[rider] = i
				list = append(list, newestPing{ts: ts})
			}
			if ts >= list[i].ts {
				list[i] = newestPing{ts, rider, texts}
			}
		}
		n++
	}
	if len(suspects) == 0 {
		return list, nil
	}
	return nil, &store.Refusal{
		Kind: store.BadRows, Reason: store.Unparsable, Suspects: suspects, All: len(suspects) == n,
		Err: errors.New("a line of an earlier version, or a time that is none"),
	}
}

// mostCommands is how many commands a pipeline has. A command takes ten times the bytes of its
// row, of which the sink's account of memory knows nothing.
const mostCommands = 500

// sendAll writes positions, some at a time, until a part is not taken. It writes all parts if
// only keys of riders are no hashes.
func (p *Whereabouts) sendAll(ctx context.Context, c *connected, list []newestPing) error {
	if len(list) == 0 {
		return p.send(ctx, c, nil)
	}
	all := &foreignKeys{make(map[any]bool)}
	for part := range slices.Chunk(list, mostCommands) {
		err := p.send(ctx, c, part)
		if other := new(foreignKeys); errors.As(err, &other) {
			maps.Copy(all.keys, other.keys)
		} else if err != nil {
			return err
		}
	}
	if len(all.keys) > 0 {
		return all
	}
	return nil
}

// send writes positions in a pipeline. Without any it asks whether writes would be taken.
func (p *Whereabouts) send(ctx context.Context, c *connected, list []newestPing) error {
	var cmds []*redis.Cmd
	if len(list) == 0 {
		for i := range p.tags {
			cmds = append(cmds, p.command(ctx, &p.tags[i], p.tags[i].riders, ""))
		}
	} else {
		cmds = p.commands(ctx, list)
	}
	err := pipe(ctx, c, cmds)
	missing := slices.Collect(func(yield func(*redis.Cmd) bool) {
		for _, cmd := range cmds {
			if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") && !yield(cmd) {
				return
			}
		}
	})
	if len(missing) == 0 {
		return cmp.Or(err, foreignIn(cmds...))
	}
	// The server was started anew, or another took its place: the first command of a tag
	// brings the script along.
	brought := make(map[any]bool)
	for i, cmd := range missing {
		args := slices.Clone(cmd.Args())
		if key := args[hashArg+1]; !brought[key] {
			brought[key] = true
			args[0], args[1] = "eval", newer
		}
		missing[i] = redis.NewCmd(ctx, args...)
	}
	if err := worst(cmds, "NOSCRIPT"); err != nil {
		return err
	}
	return cmp.Or(pipe(ctx, c, missing), foreignIn(append(cmds, missing...)...))
}

// pipe runs commands together, and returns their worst error. Keys of riders that are no hashes
// are none: see foreignIn.
func pipe(ctx context.Context, c *connected, cmds []*redis.Cmd) error {
	pipe := c.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd) // adds it
	}
	_, err := pipe.Exec(ctx)
	if of := worst(cmds, ""); of != nil {
		return of
	}
	if redis.HasErrorPrefix(err, riderType) {
		return nil
	}
	return err // of a connection: commands need not have it
}

// worst returns the error of commands that matters most, besides those that begin with
// except: one that an operator must see to, or the first.
func worst(cmds []*redis.Cmd, except string) (err error) {
	for _, cmd := range cmds {
		one := cmd.Err()
		if one == nil || redis.HasErrorPrefix(one, riderType) || except != "" && redis.HasErrorPrefix(one, except) {
			continue
		}
		if _, moved := redis.IsMovedError(one); moved {
			return one
		}
		if err == nil || refusal(err).Kind == store.Retry && refusal(one).Kind != store.Retry {
			err = one
		}
	}
	return err
}

// hashArg is the place of a rider's key among the arguments of a call.
const hashArg = 3

// command returns the call of the script for a hash, with the first and further arguments.
func (p *Whereabouts) command(ctx context.Context, tag *tagKeys, hash string, more ...any) *redis.Cmd {
	keys := 3
	if p.cfg.Changes == changesStream {
		keys++
	}
	args := append(make([]any, 0, hashArg+keys+len(more)), "evalsha", newerSHA, strconv.Itoa(keys), hash, tag.geo, tag.seen)
	if keys > 3 {
		args = append(args, tag.changes)
	}
	return redis.NewCmd(ctx, append(args, more...)...)
}

// mostFields is how many texts the fields of a ping are at most: names and values.
const mostFields = 2 * (int(pingline.Keys) + 5 + pingline.MostAttrs)

// commands returns a call of the script for each position that has not expired.
func (p *Whereabouts) commands(ctx context.Context, list []newestPing) []*redis.Cmd {
	to := p.channel
	if p.cfg.Changes == changesStream {
		to = strconv.Itoa(p.cfg.Stream)
	}
	now := time.Now().UnixMilli()
	var cmds []*redis.Cmd
	for i := range list {
		left := "0"
		if p.cfg.Expire > 0 {
			ms := list[i].ts + p.cfg.Expire.Milliseconds() - now
			if ms <= 0 {
				continue
			}
			left = strconv.FormatInt(ms, 10)
		}
		geo, texts, _ := cutText(list[i].texts)
		fields := make([]string, 0, mostFields)
		for {
			text, rest, ok := cutText(texts)
			if !ok {
				break
			}
			fields, texts = append(fields, text), rest
		}
		message := ""
		if p.cfg.Changes == changesPublish {
			message = string(appendMessage(nil, list[i].rider, fields))
		}
		args := append(make([]any, 0, 7+len(fields)), fields[1], left, p.cfg.Changes, to, message, list[i].rider, geo)
		for k := range fields {
			args = append(args, &fields[k]) // by address, since a string would be copied to the heap
		}
		tag := p.tagOf(list[i].rider)
		cmds = append(cmds, p.command(ctx, tag, tag.riders+list[i].rider, args...))
	}
	return cmds
}
