package influx

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CreateDatabase makes sure that the database of the bucket exists, and its
// retention policy if the bucket names it; a new policy keeps data for ever.
// It is for 1.8: on 2.x a bucket is made by InfluxDB's own tools.
func (b *Bucket) CreateDatabase(ctx context.Context) error {
	db, policy, _ := strings.Cut(b.cfg.Bucket, "/")
	iql := `CREATE DATABASE ` + identifiers(db)
	if policy != "" {
		iql += `; CREATE RETENTION POLICY ` + identifiers(policy) + ` ON ` + identifiers(db) + ` DURATION INF REPLICATION 1`
	}
	if err := query[series](ctx, b, http.MethodPost, url.Values{"q": {iql}}, nil); err != nil {
		return fmt.Errorf("create database %q: %w", b.cfg.Bucket, err)
	}
	return nil
}
