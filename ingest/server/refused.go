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

// refused logs pings that were refused for good, so that an operator who misses a phone's
// pings finds the reason. It logs a request a second, and how many were left out.
type refused struct {
	logger *slog.Logger

	mu      sync.Mutex // guards next and leftOut; nothing else is locked under it
	next    time.Time  // time from which on another line may be logged
	leftOut int        // requests since the last line
}

const (
	refusedEvery = time.Second
	refusedText  = 200 // most bytes of a client's text in a line
)

// tell logs the refusal of a request because of err or, if err is nil, the reason of its
// first invalid ping, if any.
func (r *refused) tell(client netip.Addr, protocol string, pings *phone.Pings, err error, now time.Time) {
	first := pings.FirstInvalid()
	if err == nil && first == nil {
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
	refused := 0
	pings.EachReason(func(_ string, n int) { refused += n })
	refused -= pings.Withheld()
	r.logger.Info("pings were refused", "client", client, "protocol", protocol, "refused", refused, "of", pings.Received,
		"index", first.Index, "rider", clip(first.Rider), "field", cmp.Or(first.Field, "syntax"), "reason", clip(first.Reason), "left_out", leftOut)
}

// clip returns the first refusedText bytes of s, as UTF-8.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), refusedText)], "\ufffd")
}
