package network

import (
	"math/rand/v2"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
)

const (
	lossKind = "pingline_loss"
	packet   = 1460                   // bytes of a TCP packet on most ways
	resend   = 200 * time.Millisecond // after which TCP sends a lost packet again, at least
	mostWait = 10 * time.Second
)

// lossToxic holds up a connection as a lost packet does: TCP sends it again after a
// while, and after twice as long if it is lost again; all that is behind it waits.
type lossToxic struct {
	Loss float64 `json:"loss"`
}

// Pipe is called by toxiproxy for each connection and way.
func (t *lossToxic) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			select {
			case <-time.After(t.wait(len(c.Data), rand.Float64)):
				stub.Output <- c
			case <-stub.Interrupt:
				stub.Output <- c
				return
			}
		}
	}
}

// wait returns how long so many bytes are held up. Packets that are lost together are
// sent again together.
func (t *lossToxic) wait(bytes int, draw func() float64) (longest time.Duration) {
	for ; bytes > 0; bytes -= packet {
		wait := time.Duration(0)
		for again := resend; wait < mostWait && draw() < t.Loss; again *= 2 {
			wait += again
		}
		longest = max(longest, min(wait, mostWait))
	}
	return longest
}
