package forward

import (
	"errors"
	"net"
	"syscall"

	"github.com/valyala/fasthttp"

	"pingline/ingest"
)

// noAnswer is why there is no answer from a peer that is silent.
const noAnswer = "no answer in time"

// short returns an error of a connection as clients may see it, without addresses and names of hosts.
func short(err error) string {
	var number syscall.Errno
	var timeout net.Error
	var name *net.DNSError
	switch {
	case errors.Is(err, fasthttp.ErrConnectionClosed):
		return "the connection was closed before the answer came"
	case errors.Is(err, fasthttp.ErrBodyTooLarge), errors.Is(err, fasthttp.ErrNoFreeConns):
		return err.Error()
	case errors.As(err, &name):
		return "the name of its host is not known"
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, fasthttp.ErrTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return noAnswer
	}
	return "the connection failed"
}

// worse returns the error that says more: a request too large stays so, and a part away is not a part that takes
// events only.
func worse(a, b error) error {
	weight := func(err error) int {
		switch {
		case err == nil:
			return 0
		case errors.Is(err, ingest.ErrOnlyEvents):
			return 1
		case errors.Is(err, ingest.ErrTooLarge):
			return 3
		}
		return 2
	}
	if weight(b) > weight(a) {
		return b
	}
	return a
}
