package sink

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// retentionEdge returns the ts in ms before which the shard that refused rows
// keeps nothing, as far as can be learnt, or 0. It asks once for a batch: an edge
// that moves on meanwhile would cut off a few rows at a time.
func (s *sifter) retentionEdge(ctx context.Context, e *WriteError) int64 {
	if s.asked != e.by {
		s.asked, s.edge = e.by, 0
		if at, ok := e.lowerBound(); ok {
			s.edge = at.UnixMilli()
		} else if keep := e.by.Influx.retention(ctx); keep > 0 {
			s.edge = time.Now().Add(-keep).UnixMilli()
		}
	}
	return s.edge
}

var lowerBound = regexp.MustCompile(`violates a Retention Policy Lower Bound at (\S+?Z)\b`)

// lowerBound returns the time that 2.7 names as the first it would keep.
func (e *WriteError) lowerBound() (time.Time, bool) {
	m := lowerBound.FindStringSubmatch(e.Message)
	if m == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, m[1])
	return at, err == nil
}

// retentionCache is what was last told of how long a bucket keeps points.
type retentionCache struct {
	mu    sync.Mutex
	keep  time.Duration
	told  bool // by the last answer
	asked time.Time
}

// retentionFor is how long an answer about retention is believed, and retryFor
// how long a server that gives none is not asked again.
const (
	retentionFor = time.Minute
	retryFor     = 10 * time.Second
)

// retention returns how long the bucket keeps points, or 0 if that is for ever
// or cannot be learnt.
func (c *Influx) retention(ctx context.Context) time.Duration {
	keep, _ := c.toldRetention(ctx)
	return keep
}

// toldRetention returns how long the bucket keeps points, 0 for ever, and whether
// that is told: a token that may only write is not told.
func (c *Influx) toldRetention(ctx context.Context) (keep time.Duration, told bool) {
	r := &c.retained
	r.mu.Lock()
	defer r.mu.Unlock()
	age := time.Since(r.asked)
	if r.asked.IsZero() || age > retentionFor || !r.told && age > retryFor {
		keep, err := c.askRetention(ctx)
		if err != nil {
			keep = 0
		}
		r.keep, r.told, r.asked = keep, err == nil, time.Now()
	}
	return r.keep, r.told
}

// askRetention asks a server of either version.
func (c *Influx) askRetention(ctx context.Context) (time.Duration, error) {
	version, err := c.version(ctx)
	if err != nil {
		return 0, err
	}
	if is2(version) {
		b, err := c.bucket(ctx)
		if err != nil {
			return 0, err
		}
		return b.keep(), nil
	}
	db, policy, _ := strings.Cut(c.cfg.Bucket, "/")
	var said policies
	params := url.Values{"q": {`SHOW RETENTION POLICIES ON ` + identifiers(db)}}
	if err := c.getJSON(ctx, "/query", params, &said); err != nil {
		return 0, err
	}
	return said.keep(policy)
}

// policies is what 1.x answers when asked for those of a database.
type policies struct {
	Results []struct {
		Series []struct {
			Columns []string
			Values  [][]any
		}
		Error string
	}
}

// keep returns the duration of the policy of that name, or of the default one.
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
			return 0, errors.New(clip(r.Error))
		}
	}
	return 0, fmt.Errorf("no retention policy %q is told", policy)
}
