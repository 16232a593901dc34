package server

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// dates is the text of the header Date, written once a second. Phones set their clocks
// by it, so it is the time of the answer. It is safe for concurrent use.
type dates struct{ last atomic.Pointer[dateText] }

type dateText struct {
	second int64
	text   []byte
}

// set gives an answer the Date now. The Date of fasthttp may be two seconds old, and
// fasthttp does not let it be set. So the line is set under another name of the same
// length, and the name is then overwritten in place.
func (d *dates) set(c *fiber.Ctx, now time.Time) {
	last := d.last.Load()
	if last == nil || last.second != now.Unix() {
		last = &dateText{now.Unix(), now.UTC().AppendFormat(nil, http.TimeFormat)}
		d.last.Store(last)
	}
	header := &c.Response().Header
	header.SetCanonical(headerDateToBe, last.text)
	header.VisitAll(func(name, _ []byte) {
		if string(name) == string(headerDateToBe) {
			copy(name, fiber.HeaderDate)
		}
	})
}

var headerDateToBe = []byte("Dat-")
