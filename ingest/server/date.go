package server

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// dates is the time as the header Date has it, written once a second. Phones set
// their clocks by it, so it is that of the answer. It is safe for concurrent use.
type dates struct{ last atomic.Pointer[dateText] }

type dateText struct {
	second int64
	text   []byte
}

// set gives an answer the Date now. The Date that fasthttp has may be two seconds old,
// and fasthttp takes no other. So the line is set under a name of the same length,
// which is then overwritten in place.
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
