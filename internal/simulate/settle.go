package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pingline"
	"pingline/internal/pause"
	"pingline/sim/audit"
)

// lateRider is a rider of whom a ping was acknowledged late in a run.
type lateRider struct {
	rider string
	at    int64 // its ts
	until int64 // the ingester said that all is stored up to there
}

const (
	lateRiders = 16   // are asked for
	latePings  = 4096 // of the end of a log are looked at
)

// lateRidersOf returns some riders of the end of each log.
func lateRidersOf(files audit.AckFiles) (list []lateRider, err error) {
	for _, path := range files {
		var ring [latePings]lateRider
		n := 0
		_, err := audit.ReadAckFile(path, func(a *audit.Acked) error {
			off := a.Answered - a.At
			if v := a.Verdict; v >= pingline.Accepted && v <= pingline.Redundant && off > -60_000 && off < 3_600_000 {
				ring[n%latePings] = lateRider{rider: a.Rider, at: a.At}
				n++
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		seen := make(map[string]bool)
		for i := n - 1; i >= max(0, n-latePings) && len(seen) < lateRiders; i-- {
			if r := ring[i%latePings]; !seen[r.rider] {
				seen[r.rider] = true
				list = append(list, r)
			}
		}
	}
	return list, nil
}

// settleBy asks the target for riders of the end of the logs, until it says that all
// of theirs is stored or the time is over.
func (a *auditing) settleBy(last time.Time) (notes []string, err error) {
	late, err := lateRidersOf(a.files)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(a.flags.Settle)
	said := false
	for {
		missing, err := a.ask(late)
		switch {
		case missing == nil && err == nil:
			return nil, nil
		case a.Err() != nil:
			return nil, a.Err()
		case time.Now().After(deadline) && err != nil:
			return []string{fmt.Sprintf("%s does not say whether all is stored: %v", a.target, err)}, nil
		case time.Now().After(deadline) && missing.until == 0:
			return []string{fmt.Sprintf("%s does not know whether all of %s is stored: what follows may only be late", a.target, missing.rider)}, nil
		case time.Now().After(deadline):
			behind := time.Duration(missing.at-missing.until) * time.Millisecond
			return []string{fmt.Sprintf("%s has not stored all: of %s it lacks the last %v, and what follows may only be late", a.target, missing.rider, behind)}, nil
		}
		if !said {
			fmt.Fprintf(a.say, "waiting until %s says that it has stored all, at most %v …\n", a.target, a.flags.Settle)
			said = true
		}
		if err := pause.For(a, time.Second); err != nil {
			return nil, err
		}
	}
}

// ask returns a rider of whom not all is stored, or nil.
func (a *auditing) ask(late []lateRider) (*lateRider, error) {
	for i := range late {
		r := &late[i]
		if r.until > r.at {
			continue
		}
		var err error
		if r.until, err = a.completeTo(r); err != nil || r.until <= r.at {
			return r, err
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// completeTo returns up to when all of a rider is stored, as an ingester says.
func (a *auditing) completeTo(r *lateRider) (int64, error) {
	ctx, cancel := context.WithTimeout(a, 10*time.Second)
	defer cancel()
	u, err := url.Parse(a.target)
	if err != nil {
		return 0, err
	}
	u = u.JoinPath("v1/riders", url.PathEscape(r.rider), "track")
	u.RawQuery = url.Values{"from": {strconv.FormatInt(r.at, 10)}, "to": {strconv.FormatInt(r.at+1, 10)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	for _, h := range a.header {
		req.Header.Add(h.Name, h.Value)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	var said struct {
		CompleteTo int64 `json:"complete_to"`
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", u.Path, resp.Status)
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return 0, fmt.Errorf("GET %s: %w", u.Path, err)
	}
	return said.CompleteTo, nil
}
