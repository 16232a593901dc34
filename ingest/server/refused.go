package server

import (
	"cmp"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"pingline/ingest/phone"
)

// refused tells the log of pings that were refused for good, so that whoever misses a
// phone's pings finds why. It tells of a request a second, and how many were left out.
type refused struct {
	logger *slog.Logger

	mu      sync.Mutex // guards next and leftOut; nothing else is locked under it
	next    time.Time  // when there may be another line
	leftOut int        // requests since the last one
}

const (
	refusedEvery = time.Second
	refusedText  = 200 // bytes of what a client wrote
)

// tell says of a request that it was refused because of err or, if that is nil, what
// is wrong with the first of its pings that is invalid, if any.
func (r *refused) tell(client netip.Addr, protocol string, pings *phone.Pings, err error, now time.Time) {
	if err == nil && len(pings.Rejected) == 0 {
		return
	}
	r.mu.Lock()
	if now.Before(r.next) {
		r.leftOut++
		r.mu.Unlock()
		return
	}
	leftOut := r.leftOut
	r.next, r.leftOut = now.Add(refusedEvery), 0
	r.mu.Unlock()
	if err != nil {
		r.logger.Info("a request was refused", "client", client, "protocol", protocol, "reason", clip(err.Error()), "left_out", leftOut)
		return
	}
	first := &pings.Rejected[0]
	refused := 0
	pings.EachReason(func(_ string, n int) { refused += n })
	r.logger.Info("pings were refused", "client", client, "protocol", protocol, "refused", refused, "of", pings.Received,
		"index", first.Index, "rider", clip(first.Rider), "field", cmp.Or(first.Field, "syntax"), "reason", clip(first.Reason), "left_out", leftOut)
}

// clip returns as much of s as a line of the log may have, as UTF-8.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), refusedText)], "\ufffd")
}
