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
)

// errLater is the refusal of pings that can wait until there is room for them.
var errLater = fmt.Errorf("overloaded, pings of the past have to wait: %w", ingest.ErrUnavailable)

// reasonError is an error of a kind that says why in its own words.
type reasonError struct {
	kind error
	text string
}

func (e *reasonError) Error() string { return e.text }

func (e *reasonError) Unwrap() error { return e.kind }

// rateError is the refusal of a request because of who sends it.
type rateError struct {
	text string
	wait time.Duration // until there is a chance
}

func (e *rateError) Error() string { return e.text }

// limitOf says of an error by whose rate a request was refused; "" if by none.
func limitOf(err error) string {
	if over, ok := errors.AsType[*rateError](err); ok {
		text, _, _ := strings.Cut(over.text, ":")
		return text
	}
	return ""
}

// errBadQuery is wrapped by the refusal of a request for what its parameters say.
var errBadQuery = errors.New("bad query")

func badQuery(name, format string, args ...any) error {
	return &reasonError{errBadQuery, name + ": " + fmt.Sprintf(format, args...)}
}

// retryAfter spreads those who come back over seconds 5 to 15, so that a crowd
// refused in one second does not return in one.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

// retryLater is retryAfter for what can wait.
func retryLater() string { return strconv.Itoa(30 + rand.IntN(31)) }

// retryAfterRate is retryAfter for one who may send again after wait, at most
// ten minutes: later, somebody may have changed the rate.
func retryAfterRate(wait time.Duration) string {
	s := int(math.Ceil(min(wait, 10*time.Minute).Seconds()))
	return strconv.Itoa(s + rand.IntN(2+s/4))
}
