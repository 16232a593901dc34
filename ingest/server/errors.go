package server

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"pingline/ingest"
	"pingline/ingest/server/refusal"
)

// errLater is the refusal of old pings, which can wait until there is room for them.
var errLater = fmt.Errorf("overloaded, pings of the past have to wait: %w", ingest.ErrUnavailable)

// limitOf returns the text of the rate by which err refuses a request, or "".
func limitOf(err error) string {
	if over, ok := errors.AsType[*refusal.OverRate](err); ok {
		text, _, _ := strings.Cut(over.Text, ":")
		return text
	}
	return ""
}

// retryAfter returns 5 to 15 seconds at random, so that clients refused within a second
// do not all come back within a second.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

// retryLater is retryAfter for requests that can wait: 30 to 60 seconds.
func retryLater() string { return strconv.Itoa(30 + rand.IntN(31)) }

// retryAfterRate is retryAfter for a client that may send again after wait. It is at
// most ten minutes, because an operator may have changed the rate by then.
func retryAfterRate(wait time.Duration) string {
	s := int(math.Ceil(min(wait, 10*time.Minute).Seconds()))
	return strconv.Itoa(s + rand.IntN(2+s/4))
}
