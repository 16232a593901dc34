package influx

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"pingline/sink/store"
)

// retentionCache is the last answer about how long a bucket keeps points.
type retentionCache struct {
	mu    sync.Mutex
	keep  time.Duration
	told  bool // the last answer named a retention
	asked time.Time
}

// retentionFor is how long an answer about retention is used, and retryFor how
// long a server that gave no answer is not asked again.
const (
	retentionFor = time.Minute
	retryFor     = 10 * time.Second
)

// Retention returns how long the bucket keeps points, 0 for ever, and whether
// InfluxDB tells: it does not tell a token that may only write.
func (b *Bucket) Retention(ctx context.Context) (keep time.Duration, told bool) {
	r := &b.retained
	r.mu.Lock()
	defer r.mu.Unlock()
	age := time.Since(r.asked)
	if r.asked.IsZero() || age > retentionFor || !r.told && age > retryFor {
		keep, err := b.askRetention(ctx)
		if err != nil {
			keep = 0
		}
		r.keep, r.told, r.asked = keep, err == nil, time.Now()
	}
	return r.keep, r.told
}

// askRetention asks a server of either version.
func (b *Bucket) askRetention(ctx context.Context) (time.Duration, error) {
	version, err := b.version(ctx)
	if err != nil {
		return 0, err
	}
	if is2(version) {
		found, err := b.bucket(ctx)
		if err != nil {
			return 0, err
		}
		return found.keep(), nil
	}
	db, policy, _ := strings.Cut(b.cfg.Bucket, "/")
	var said policies
	params := url.Values{"q": {`SHOW RETENTION POLICIES ON ` + identifiers(db)}}
	if err := b.getJSON(ctx, "/query", params, &said); err != nil {
		return 0, err
	}
	return said.keep(policy)
}

// policies is the answer of 1.x to SHOW RETENTION POLICIES.
type policies struct {
	Results []struct {
		Series []struct {
			Columns []string
			Values  [][]any
		}
		Error string
	}
}

// keep returns the duration of the policy of that name, or of the default
// policy.
func (p *policies) keep(policy string) (time.Duration, error) {
	for _, r := range p.Results {
		for _, s := range r.Series {
			column := func(row []any, name string) any {
				if i := slices.Index(s.Columns, name); i >= 0 && i < len(row) {
					return row[i]
				}
				return nil
			}
			for _, row := range s.Values {
				if policy != "" && column(row, "name") != policy || policy == "" && column(row, "default") != true {
					continue
				}
				text, _ := column(row, "duration").(string)
				return time.ParseDuration(text)
			}
		}
		if r.Error != "" {
			return 0, errors.New(store.Clip(r.Error))
		}
	}
	return 0, fmt.Errorf("the answer names no retention policy %q", policy)
}
