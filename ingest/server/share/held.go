package share

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// IfProxy is the remedy if a client that is held to a share sends for many clients.
const IfProxy = "if it is a proxy or a backend of yours, name it in --trusted-proxies"

// Held remembers for each kind of share, for a note, the client that was last refused more
// than its share. It is safe for concurrent use.
type Held [len(names)]atomic.Pointer[heldClient]

type heldClient struct {
	client netip.Addr
	at     time.Time
}

// The kinds of shares.
const (
	OfWork = iota
	OfReads
	OfConnections
)

var names = [...]string{"--max-in-progress", "what reads may take", "--max-connections"}

// Note notes that client was refused more than its share of a kind.
func (h *Held) Note(share int, client netip.Addr) {
	h[share].Store(&heldClient{client, time.Now()})
}

// Refused notes that n more were refused to c, a claim of client, if that is because of its
// share.
func (h *Held) Refused(c *Claim, n int64, share int, client netip.Addr) {
	if c.byShare(n) {
		h.Note(share, client)
	}
}

// Notes returns a sentence for each share that a client was held to in the last
// minute.
func (h *Held) Notes(now time.Time) (notes []string) {
	for share := range h {
		if held := h[share].Load(); held != nil && now.Sub(held.at) < time.Minute {
			notes = append(notes, fmt.Sprintf("client %v is held to its share of %s: %s", held.client, names[share], IfProxy))
		}
	}
	return notes
}
