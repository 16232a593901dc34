package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// mapping is the database and retention policy under which InfluxQL finds a
// bucket.
type mapping struct {
	Database string
	Policy   string `json:"retention_policy"` // "" is the default policy of 1.8
	BucketID string
}

// source returns the mapping of our bucket. On every server other than a 2.x
// it is in the bucket's name.
//
// 2.x finds a bucket by a mapping of database and policy. 2.7 makes a mapping for
// each bucket: bucket "db/policy" is found under db and policy, and bucket "db"
// under db and autogen. But then "db" and "db/autogen" are the same to it, and a
// mapping made by hand (or by an upgrade from 1.x) goes first: a query by name
// would be answered from another bucket without an error. So 2.x is asked which
// mapping leads to our bucket; only once, since an operator who changes mappings
// restarts Pingline.
func (b *Bucket) source(ctx context.Context) (*mapping, error) {
	if m := b.mapping.Load(); m != nil {
		return m, nil
	}
	db, policy, _ := strings.Cut(b.cfg.Bucket, "/")
	m := &mapping{Database: db, Policy: policy}
	version, err := b.version(ctx)
	if errors.As(err, new(*AnswerError)) {
		return m, nil // a server that refuses a ping may take queries
	}
	if err != nil {
		return nil, err
	}
	if is2(version) {
		if m, err = b.findMapping(ctx); err != nil {
			return nil, err
		}
	}
	b.mapping.Store(m)
	return m, nil
}

// is2 reports whether version is that of a 2.x.
func is2(version string) bool { return strings.HasPrefix(strings.TrimPrefix(version, "v"), "2.") }

// bucketInfo is the answer of a 2.x about a bucket, if the token may read it.
type bucketInfo struct {
	ID             string
	RetentionRules []struct {
		Type         string
		EverySeconds int64
	}
}

// keep returns how long the bucket keeps points; 0 means for ever.
func (b *bucketInfo) keep() time.Duration {
	for _, r := range b.RetentionRules {
		if r.Type == "expire" {
			return time.Duration(r.EverySeconds) * time.Second
		}
	}
	return 0
}

// ours returns the parameters that name our organization to a 2.x.
func (b *Bucket) ours() url.Values {
	if isID(b.cfg.Org) {
		return url.Values{"orgID": {b.cfg.Org}}
	}
	return url.Values{"org": {b.cfg.Org}}
}

var errNotFound = errors.New("bucket not found, or the token may not read it")

// bucket asks a 2.x about our bucket.
func (b *Bucket) bucket(ctx context.Context) (*bucketInfo, error) {
	var found struct{ Buckets []bucketInfo }
	params := b.ours()
	params.Set("name", b.cfg.Bucket)
	if err := b.getJSON(ctx, "/api/v2/buckets", params, &found); err != nil {
		return nil, err
	}
	if len(found.Buckets) == 0 {
		return nil, errNotFound
	}
	return &found.Buckets[0], nil
}

// findMapping asks a 2.x for the mapping of our bucket. The answer has only
// buckets that the token may read.
func (b *Bucket) findMapping(ctx context.Context) (*mapping, error) {
	ours, err := b.bucket(ctx)
	if err != nil {
		return nil, err
	}
	// The answer has all mappings, except mappings that another hides.
	var all struct{ Content []mapping }
	if err := b.getJSON(ctx, "/api/v2/dbrps", b.ours(), &all); err != nil {
		return nil, err
	}
	for i := range all.Content {
		if m := &all.Content[i]; m.BucketID == ours.ID && m.Policy != "" {
			return m, nil
		}
	}
	return nil, errors.New(`InfluxQL cannot read it: no database and policy are mapped to this bucket, or another bucket has the same mapping; map a database and policy of its own with "influx v1 dbrp create"`)
}

// isID reports whether a 2.x takes a string for an ID and not a name, when it
// is written to.
var isID = regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString

func (b *Bucket) getJSON(ctx context.Context, path string, params url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	resp, err := b.Get(ctx, path, params)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 16 << 20
	if err := json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(into); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}
