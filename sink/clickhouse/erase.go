package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// eraseLimit is how long ClickHouse may take to rewrite the parts that have a rider.
const eraseLimit = 10 * time.Minute

// Erase deletes all pings of a rider, as store.Eraser wants it: by a mutation, which
// rewrites each part that has such rows.
func (t *Tables) Erase(ctx context.Context, rider string) error {
	limited, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
	if err := t.erase(limited, rider); err != nil {
		return fmt.Errorf("delete from ClickHouse database %q: %w", t.database, err)
	}
	return nil
}

func (t *Tables) erase(ctx context.Context, rider string) error {
	known, err := t.facts(ctx, false)
	if errors.Is(err, errNoTables) && t.cfg.CreateSchema {
		return nil // nothing was written yet
	}
	if err != nil {
		return err
	}
	params := t.here()
	known.set(params, "mutations_sync", "2")
	if _, err := t.ask(ctx, params, "ALTER TABLE "+tablePings+" DELETE WHERE rider = "+literal(rider), nil); err != nil {
		return err
	}
	// A server that does not know mutations_sync has answered before the deletion.
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		text, err := t.ask(ctx, t.here(), "SELECT count() FROM system.mutations WHERE database = "+literal(t.database)+" AND table = '"+tablePings+"' AND is_done = 0 FORMAT TSV", nil)
		if err != nil || strings.TrimSpace(text) == "0" {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
