package reads

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/ingest/server/param"
	"pingline/internal/plainjson"
	"pingline/query"
)

// storeTimeout is how long a read waits for the stores.
const storeTimeout = 10 * time.Second

func (s *Routes) partitions(c *fiber.Ctx, r *readInWork) error {
	spread, err := s.reader.Partitions(c.Query("set"))
	if err != nil {
		return param.Bad("set", "%v", err)
	}
	body, err := plainjson.Marshal(spread)
	if err != nil {
		return err
	}
	if err := s.charge(r, int64(len(body))); err != nil {
		return err
	}
	return s.answer(c, r, fiber.MIMEApplicationJSON, bytes.NewReader(body), len(body))
}

// status answers how the node does, whatever is given up. It has the rate of reads and no
// place among them: all who ask within a second share one answer, and each takes no more
// memory than its connection.
func (s *Routes) status(c *fiber.Ctx) error {
	if _, err := s.withinRate(c); err != nil {
		return err
	}
	body, err := s.reader.Status()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Response().SetBodyRaw(body)
	return nil
}

// waits reports whether a ping in a reader's answer is not seen in a store yet.
func waits(e *pingline.Entry) bool { return e.Verdict == pingline.Held }

// pointsOf writes the points of list as JSON, in pieces.
func pointsOf(list []pingline.Entry) func(dst []byte) []byte {
	return eachOf(len(list), func(dst []byte, i int) []byte { return query.AppendStored(dst, &list[i]) })
}

// answerPoints answers with a rider's points and the end of the page.
func (s *Routes) answerPoints(c *fiber.Ctx, r *readInWork, rider string, list []pingline.Entry, end pageEnd) error {
	s.settle(r, len(list))
	head := append(plainjson.Append([]byte(`{"rider_id":`), rider), `,"pings":[`...)
	return s.answer(c, r, fiber.MIMEApplicationJSON, inTurn(text(string(head)), pointsOf(list), end.text("]")), -1)
}

// pageEnd is the end of an answer with points.
type pageEnd struct {
	Next       string `json:"next,omitempty"`
	CompleteTo *int64 `json:"complete_to,omitempty"`
	Partial    bool   `json:"partial"`
	MemoryOnly bool   `json:"memory_only,omitempty"`
}

// text returns the end of a list and of the object that it is in.
func (e *pageEnd) text(list string) func(dst []byte) []byte {
	return text(list + "," + string(plainjson.Append(nil, e)[1:]))
}

// latest answers with the newest ping of each of a rider's devices, known to the writer
// or stored.
func (s *Routes) latest(c *fiber.Ctx, r *readInWork, rider, stored string) error {
	from, err := s.setOf(c, hasPings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	newest, err := from.Newest(ctx, stored)
	if err != nil {
		return storeError(err)
	}
	if len(newest.List) == 0 && !newest.Partial {
		return fiber.NewError(fiber.StatusNotFound, "no ping of this rider is known")
	}
	return s.answerPoints(c, r, rider, newest.List, pageEnd{Partial: newest.Partial, MemoryOnly: newest.MemoryOnly})
}

// track answers with a page of a rider's pings, stored or waiting to be stored.
func (s *Routes) track(c *fiber.Ctx, r *readInWork, rider, name string) error {
	q, err := param.Track(c, time.Now().Add(s.cfg.MaxAhead))
	if err != nil {
		return err
	}
	from, err := s.setOf(c, hasPings)
	if err != nil {
		return err
	}
	asked := int64(q.Limit) * pointBytes * int64(1+max(1, from.Shards))
	if err := s.chargeMost(r, asked); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	q.Rider = name
	stored, complete, err := from.Page(ctx, q)
	if err != nil {
		return storeError(err)
	}
	end := pageEnd{CompleteTo: &complete, Partial: stored.Partial, MemoryOnly: stored.MemoryOnly}
	if stored.More {
		end.Next = param.FormatInstant(stored.Next, stored.NextNano)
	}
	if wantsGeoJSON(c) {
		return s.answerLines(c, r, rider, stored.List, end)
	}
	return s.answerPoints(c, r, rider, stored.List, end)
}

// ofRider has read answer for a rider, unless another node has the rider, and answers.
func (s *Routes) ofRider(read func(c *fiber.Ctx, r *readInWork, rider, stored string) error) func(*fiber.Ctx, *readInWork) error {
	return func(c *fiber.Ctx, r *readInWork) error {
		rider, stored, err := s.riderOf(c)
		if err != nil {
			return err
		}
		if s.cfg.Pass != nil {
			s.cfg.Guard.PassOn(c)
			if passed, err := s.cfg.Pass(c, stored); passed || err != nil {
				return err
			}
		}
		return read(c, r, rider, stored)
	}
}

// riderOf returns the rider in the path, whom the sender may ask for, and the name by which
// that rider is stored.
func (s *Routes) riderOf(c *fiber.Ctx) (rider, stored string, err error) {
	raw := c.Params("id")
	if rider, err = url.PathUnescape(raw); err != nil {
		return "", "", param.Bad("rider_id", "%q is not percent-encoded", raw)
	}
	rider = strings.Clone(rider)
	if err := pingline.CheckID("rider_id", rider); err != nil {
		return "", "", param.Because(err)
	}
	return rider, s.cfg.Names.Stored(rider), s.cfg.Guard.NeedRider(c, rider)
}

// storeError refuses a read because the store does not answer.
func storeError(err error) error {
	return later("the store does not answer: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
}
