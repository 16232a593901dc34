package reads

import (
	"errors"
	"math"
	"strings"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/ingest/server/param"
	"pingline/internal/plainjson"
	"pingline/query"
	"pingline/query/fleet"
)

// riders answers with a page of the newest pings in a box.
func (s *Routes) riders(c *fiber.Ctx, r *readInWork) error {
	q := fleet.InBox{Since: math.MinInt64, Cursor: strings.Clone(c.Query("cursor"))}
	var err error
	if q.Box, err = param.Box(c, "bbox"); err != nil {
		return err
	}
	if c.Query("at") != "" && s.reader.Then != nil {
		return s.ridersAt(c, r, q.Box)
	}
	if err := ofNow(c); err != nil {
		return err
	}
	if err := param.Time(c, "since", &q.Since, nil); err != nil {
		return err
	}
	if q.Limit, err = param.Int(c, "limit", param.PageLimit, 1, param.PageMost); err != nil {
		return err
	}
	if err := s.chargeMost(r, int64(q.Limit)*pointBytes); err != nil {
		return err
	}
	page, err := s.reader.Riders(&q)
	switch {
	case errors.Is(err, fleet.ErrCursor):
		return param.Bad("cursor", "%v", err)
	case err != nil:
		return later("%v", err)
	}
	one := func(dst []byte, i int) []byte { return query.AppendSeen(dst, &page.List[i], &page) }
	return s.answerSeen(c, r, page.List, one, query.RidersEnd(&page))
}

// answerSeen answers with riders, which one appends, and the end of their list.
func (s *Routes) answerSeen(c *fiber.Ctx, r *readInWork, list []pingline.Entry, one func(dst []byte, i int) []byte, end string) error {
	s.settle(r, len(list))
	kind, head, before, behind := fiber.MIMEApplicationJSON, `{"riders":[`, "", ""
	if wantsGeoJSON(c) {
		kind, head, before, behind = mimeGeoJSON, `{"type":"FeatureCollection","features":[`, `{"type":"Feature","geometry":{"type":"Point","coordinates":`, "}"
	}
	rows := eachOf(len(list), func(dst []byte, i int) []byte {
		e := &list[i]
		if dst = append(dst, before...); before != "" {
			dst = append(plainjson.Append(dst, [2]float64{e.Lon(), e.Lat()}), `},"properties":`...)
		}
		return append(one(dst, i), behind...)
	})
	return s.answer(c, r, kind, inTurn(text(head), rows, text(end)), -1)
}
