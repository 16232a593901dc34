package server

import (
	"bytes"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// partial is the preference (RFC 7240) of a client that takes the verdicts of some pings of a request
// where the others cannot be judged now.
const partial = "partial"

// prefers reports whether a client states a preference that has no value. Of a preference that is
// stated twice the first counts.
func prefers(h *fasthttp.RequestHeader, preference string) bool {
	for _, line := range h.PeekAll("Prefer") {
		for len(line) > 0 {
			var stated []byte
			stated, line = cutUnquoted(line, ',')
			stated, _ = cutUnquoted(stated, ';') // parameters
			name, value := cutUnquoted(stated, '=')
			if bytes.EqualFold(bytes.TrimSpace(name), []byte(preference)) {
				value = bytes.TrimSpace(value)
				return len(value) == 0 || string(value) == `""`
			}
		}
	}
	return false
}

// cutUnquoted cuts b at the first separator that is not in a quoted string.
func cutUnquoted(b []byte, separator byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			quoted = !quoted
		case b[i] == '\\' && quoted:
			i++
		case b[i] == separator && !quoted:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// answeredInPart sets the headers of an answer in which pings have no verdict.
func answeredInPart(c *fiber.Ctx) {
	c.Set("Preference-Applied", partial)
	c.Set(fiber.HeaderRetryAfter, retryAfter())
}

// refundUnjudged gives back the charges of pings that have no verdict.
func (s *Server) refundUnjudged(x *request) {
	n, i := 0, 0
	for _, v := range x.job.Verdicts {
		if v == 0 {
			n++
		}
	}
	s.clients.Pay(x.from.Key, -n)
	x.id.Pay(-n)
	for _, r := range x.runs { // the pings of a run are of a single part
		if x.job.Verdicts[i] == 0 {
			s.riders.Pay(r.key, -r.pings)
		}
		i += r.pings
	}
}
