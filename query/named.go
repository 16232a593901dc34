package query

import (
	"context"
	"fmt"

	"pingline"
	"pingline/sink/store"
)

// Named returns a reader whose errors say of which shard they are.
func Named(r ShardReader) store.Reader { return namedReader{r.Name, r.Reader} }

type namedReader struct {
	name string
	store.Reader
}

func (r namedReader) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	if err := r.Reader.Points(ctx, q, each); err != nil {
		return fmt.Errorf("shard %s: %w", r.name, err)
	}
	return nil
}
