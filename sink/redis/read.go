package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"pingline"
)

// Newest calls each with the newest ping of a rider, or of every rider if rider is "", in no
// order, until each returns an error, which it passes on. The entry has all that was written
// of it, with Verdict Accepted. A rider who comes or goes meanwhile may be left out, and one
// may come twice. A place that is empty has none, and that is no error.
func (p *Whereabouts) Newest(ctx context.Context, rider string, each func(e *pingline.Entry) error) error {
	err := p.with(func(c *connected) error {
		if rider != "" {
			return p.hashes(ctx, c, p.tagOf(rider), []string{rider}, each)
		}
		for i := range p.tags {
			if err := p.newestOfTag(ctx, c, &p.tags[i], each); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", p.at.addr, err)
	}
	return nil
}

func (p *Whereabouts) newestOfTag(ctx context.Context, c *connected, tag *tagKeys, each func(e *pingline.Entry) error) error {
	for cursor := uint64(0); ; {
		found, next, err := c.ZScan(ctx, tag.seen, cursor, "", 1000).Result()
		if err != nil {
			return err
		}
		var riders []string
		for i := 0; i < len(found); i += 2 { // a member, and its ts
			riders = append(riders, found[i])
		}
		if err := p.hashes(ctx, c, tag, riders, each); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// hashes calls each with the pings of riders, of a tag, as far as they are there.
func (p *Whereabouts) hashes(ctx context.Context, c *connected, tag *tagKeys, riders []string, each func(e *pingline.Entry) error) error {
	pipe := c.Pipeline()
	var found []*redis.MapStringStringCmd
	for _, rider := range riders {
		found = append(found, pipe.HGetAll(ctx, tag.riders+rider))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, rider := range riders {
		if e, ok := entryOf(rider, found[i].Val()); ok {
			if err := each(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Erase removes a rider, and what the stream of changes has of the rider.
func (p *Whereabouts) Erase(ctx context.Context, rider string) error {
	tag := p.tagOf(rider)
	err := p.with(func(c *connected) error {
		pipe := c.Pipeline()
		pipe.Del(ctx, tag.riders+rider)
		pipe.ZRem(ctx, tag.geo, rider)
		pipe.ZRem(ctx, tag.seen, rider)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		return eraseChanges(ctx, c, tag.changes, rider)
	})
	if err != nil {
		return fmt.Errorf("erase from %s: %w", p.at.addr, errors.New(oneLine(err.Error())))
	}
	return nil
}

// eraseChanges removes what a stream has of a rider. The stream may be there though changes
// go elsewhere now.
func eraseChanges(ctx context.Context, c *connected, stream, rider string) error {
	const page = 1000
	for from := "-"; ; {
		list, err := c.XRangeN(ctx, stream, from, "+", page).Result()
		if err != nil && strings.Contains(err.Error(), "unknown command") { // before Redis 5
			return nil
		}
		if err != nil {
			return err
		}
		var ids []string
		for _, m := range list {
			if m.Values[pingline.KeyNames[pingline.KeyRider]] == rider {
				ids = append(ids, m.ID)
			}
		}
		if len(ids) > 0 {
			if err := c.XDel(ctx, stream, ids...).Err(); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
		from = list[len(list)-1].ID // which comes again: before 6.2 no range is without its ends
	}
}
