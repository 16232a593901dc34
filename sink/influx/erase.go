package influx

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pingline/sink/store"
)

var _ store.Eraser = (*Bucket)(nil)

// eraseLimit is how long InfluxDB may take to delete the points of a rider or a unit.
const eraseLimit = 10 * time.Minute

// Erase deletes all points of a rider, as store.Eraser wants it. On 1.8 it deletes from all
// retention policies of the database: InfluxQL's DELETE cannot choose.
func (b *Bucket) Erase(ctx context.Context, rider string) error {
	if err := erase(ctx, b, rider, b.eraseByPredicate, b.eraseByQuery); err != nil {
		return fmt.Errorf("delete from bucket %q: %w", b.cfg.Bucket, err)
	}
	return nil
}

// erase deletes a rider or a unit within eraseLimit, as 2.x or 1.8 does it.
func erase[T any](ctx context.Context, b *Bucket, what T, of2, of1 func(context.Context, T) error) error {
	version, err := b.version(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
	if is2(version) {
		return of2(ctx, what)
	}
	return of1(ctx, what)
}

// eraseByQuery is for 1.8.
func (b *Bucket) eraseByQuery(ctx context.Context, rider string) error {
	db, _, _ := strings.Cut(b.cfg.Bucket, "/")
	iql := `DELETE FROM ` + identifiers(Measurement) + ` WHERE "rider" = ` + literal(rider)
	resp, err := b.request(ctx, http.MethodPost, "/query", url.Values{"db": {db}, "q": {iql}})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read
	var a chunk[series]
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil && err != io.EOF {
		return fmt.Errorf("answer breaks off: %w", err)
	}
	_, err = a.each(nil)
	return err
}

// eraseByPredicate is for 2.x.
func (b *Bucket) eraseByPredicate(ctx context.Context, rider string) error {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(rider) + `"`
	return b.deleteWhere(ctx, fmt.Sprintf(`_measurement="%s" AND rider=%s`, Measurement, quoted), time.Unix(0, math.MinInt64+2), time.Unix(0, math.MaxInt64-1))
}

// deleteWhere asks a 2.x to delete points from one time to another, both included.
func (b *Bucket) deleteWhere(ctx context.Context, predicate string, from, to time.Time) error {
	body, err := json.Marshal(struct {
		Start     string `json:"start"`
		Stop      string `json:"stop"`
		Predicate string `json:"predicate"`
	}{from.UTC().Format(time.RFC3339Nano), to.UTC().Format(time.RFC3339Nano), predicate})
	if err != nil {
		return err
	}
	u := b.base.JoinPath("/api/v2/delete")
	u.RawQuery = url.Values{"org": {b.cfg.Org}, "bucket": {b.cfg.Bucket}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.http.roundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
