package clickhouse

import (
	"context"
	"fmt"
	"time"
)

// eraseLimit is how long ClickHouse may take to rewrite the parts that have a rider.
const eraseLimit = 10 * time.Minute

// Erase deletes all pings of a rider, as store.Eraser wants it: by a mutation, which
// rewrites each part that has such rows.
func (t *Tables) Erase(ctx context.Context, rider string) error {
	limited, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
	if err := t.mutate(limited, tablePings, "rider = "+literal(rider)); err != nil {
		return fmt.Errorf("delete from ClickHouse database %q: %w", t.database, err)
	}
	return nil
}
