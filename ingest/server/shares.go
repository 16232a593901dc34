package server

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// ifProxy is the remedy where a client that is held to a share stands for many.
const ifProxy = "if it is a proxy or a backend of yours, name it in --trusted-proxies"

// sharesHeld remembers, for a note, the client that was last refused more than its
// share of each thing. It is safe for concurrent use.
type sharesHeld [len(shareNames)]atomic.Pointer[shareHeld]

type shareHeld struct {
	client netip.Addr
	at     time.Time
}

const (
	shareOfWork = iota
	shareOfReads
	shareOfConnections
)

var shareNames = [...]string{"--max-in-progress", "what reads may take", "--max-connections"}

func (h *sharesHeld) note(share int, client netip.Addr, now time.Time) {
	h[share].Store(&shareHeld{client, now})
}

// notes returns a sentence for each share that a client was held to in the last
// minute.
func (h *sharesHeld) notes(now time.Time) (notes []string) {
	for share := range h {
		if held := h[share].Load(); held != nil && now.Sub(held.at) < time.Minute {
			notes = append(notes, fmt.Sprintf("client %v is held to its share of %s: %s", held.client, shareNames[share], ifProxy))
		}
	}
	return notes
}

// byShare reports whether n more are refused to c because of its share, and not
// because there is no more.
func (c *claim) byShare(n int64) bool {
	return c.share != nil && c.of.used.Load()+n <= c.of.most
}
