package influx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pingline/sink/store"
)

var _ store.Checker = (*Bucket)(nil)

// clocksApart is how far the server's clock may be from ours: its Date is cut to
// seconds, and the answer takes a while.
const clocksApart = 5 * time.Second

// Check finds out whether the server answers and its clock agrees with ours, whether
// the bucket is there, and whether the token may write to it and read it. It writes no
// point: a write without rows is refused like any other.
func (b *Bucket) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 4*b.cfg.Timeout)
	defer cancel()
	reachable, clock, version := b.checkServer(ctx)
	if reachable.Remedy != "" {
		return []store.Finding{reachable}
	}
	write, reason := b.checkWrite(ctx)
	read := b.checkRead(ctx)
	if read.Remedy != "" && (reason == store.Missing || reason == store.Credentials) {
		read.Remedy = write.Remedy // the read fails for the same reason
	}
	missing := ""
	if reason == store.Missing {
		missing = write.Remedy
	}
	return []store.Finding{reachable, clock, b.checkBucket(ctx, version, missing), write, read}
}

// checkServer asks for the version, and looks at the time of the answer.
func (b *Bucket) checkServer(ctx context.Context) (reachable, clock store.Finding, version string) {
	reachable, clock = store.Finding{What: "reachable"}, store.Finding{What: "clock"}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	began := time.Now()
	resp, err := b.Get(ctx, "/ping", nil)
	if err != nil {
		reachable.Found, reachable.Remedy = err.Error(), "check the URL, and that InfluxDB runs and no firewall or proxy is in between"
		if answered := new(AnswerError); errors.As(err, &answered) && answered.Status == 0 { // no request was sent
			_, reachable.Remedy = answered.stop()
		}
		return reachable, clock, ""
	}
	took := time.Since(began)
	_ = resp.Body.Close()
	version = resp.Header.Get("X-Influxdb-Version")
	reachable.Found = fmt.Sprintf("%s is InfluxDB %s, answers in %d ms", b.base, strings.TrimPrefix(version, "v"), took.Milliseconds())
	if version == "" {
		reachable.Found, reachable.Remedy = b.base.String()+" answers, but does not say that it is InfluxDB", "check the URL; that of a VictoriaMetrics begins with victoriametrics://"
		return reachable, clock, ""
	}
	clock.Found, clock.Remedy = compareClocks(resp.Header.Get("Date"), began, took)
	return reachable, clock, version
}

// compareClocks says how far the time of a Date header is from our clock.
func compareClocks(date string, began time.Time, took time.Duration) (found, remedy string) {
	at, err := http.ParseTime(date)
	if err != nil {
		return "InfluxDB's answer has no Date header", ""
	}
	// The answer was made between began and began + took, in the second that
	// Date names.
	apart := time.Duration(0)
	if first := began.Truncate(time.Second); at.Before(first) {
		apart = at.Sub(first)
	} else if last := began.Add(took); at.After(last) {
		apart = at.Sub(last)
	}
	apart = apart.Round(time.Second)
	switch {
	case apart == 0:
		return "InfluxDB's is the same as ours", ""
	case apart > 0:
		found = fmt.Sprintf("InfluxDB's is %v ahead of ours", apart)
	default:
		found = fmt.Sprintf("InfluxDB's is %v behind ours", -apart)
	}
	if apart.Abs() > clocksApart {
		return found, "set both clocks by NTP: retention and now() go by InfluxDB's, --max-age and --max-ahead by ours"
	}
	return found, ""
}

// checkBucket looks for the bucket, as far as the token may see it. missing is the remedy
// of a write that found no bucket or no organization, or "".
func (b *Bucket) checkBucket(ctx context.Context, version, missing string) store.Finding {
	f := store.Finding{What: "bucket", Found: fmt.Sprintf("%q is there", b.cfg.Bucket)}
	var err error
	if is2(version) {
		_, err = b.bucket(ctx)
	} else {
		_, err = b.askRetention(ctx)
	}
	answered := new(AnswerError)
	switch {
	case missing == otherOrganization:
		f.Found, f.Remedy = fmt.Sprintf("%q: there is no organization %q", b.cfg.Bucket, b.cfg.Org), missing
	case missing == noOrganization:
		f.Found, f.Remedy = fmt.Sprintf("%q: no organization is named", b.cfg.Bucket), missing
	case err == nil:
	case missing != "":
		f.Found, f.Remedy = fmt.Sprintf("%q is not there", b.cfg.Bucket), createBucket
	case errors.As(err, &answered) && (answered.Status == http.StatusUnauthorized || answered.Status == http.StatusForbidden):
		f.Found = fmt.Sprintf("the token may not see whether %q is there", b.cfg.Bucket)
	case errors.Is(err, errNotFound):
		f.Found = fmt.Sprintf("the token may not see %q", b.cfg.Bucket)
	default:
		f.Found, f.Remedy = fmt.Sprintf("%q: %v", b.cfg.Bucket, err), createBucket
	}
	return f
}

const createBucket = "create it, or name another; on 1.8 a bucket is database/retention-policy, or the database alone"

// checkWrite makes a write without rows, which takes the same rights. If it is
// refused, checkWrite returns the reason, an element of store.Stops.
func (b *Bucket) checkWrite(ctx context.Context) (f store.Finding, reason string) {
	f = store.Finding{What: "write", Found: "the token may write"}
	if _, err := b.Ping(ctx); err != nil {
		f.Found, f.Remedy = err.Error(), "check the server"
		if refusal := new(store.Refusal); errors.As(err, &refusal) && refusal.Advice != "" {
			f.Remedy, reason = refusal.Advice, refusal.Reason
		}
	}
	return f, reason
}

// checkRead asks for the points of an instant long ago.
func (b *Bucket) checkRead(ctx context.Context) store.Finding {
	f := store.Finding{What: "read", Found: "the token may read"}
	if err := b.Points(ctx, store.Query{To: 1, Limit: 1}, nil); err != nil {
		f.Found, f.Remedy = err.Error(), "give the token the right to read the bucket: without it tracks have only the pings that wait in memory"
	}
	return f
}
