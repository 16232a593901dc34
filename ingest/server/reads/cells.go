package reads

import (
	"bytes"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/param"
	"pingline/partition"
	"pingline/query"
)

const (
	cellsMost = 10_000 // most cells of an answer
	cellBytes = 1024   // bytes of a cell while the answer is made; half of it in the answer
)

// cells answers with the live activity in a box.
func (s *Routes) cells(c *fiber.Ctx, r *readInWork) error {
	box, err := param.Box(c, "bbox")
	if err != nil {
		return err
	}
	res, err := param.Int(c, "res", -1, 0, partition.MaxRes)
	if err != nil {
		return err
	}
	if c.Query("at") != "" && s.reader.Past != nil {
		return s.cellsAt(c, r, box, res)
	}
	if err := ofNow(c); err != nil {
		return err
	}
	a := s.recent.get(area{box, res}, func(a *areaAnswer) { s.lookAround(r, a) })
	r.also = a.release
	if a.err != nil {
		return a.err
	}
	s.pay(r, a.cells/pointsOfOne)
	return s.answer(c, r, mimeGeoJSON, bytes.NewReader(a.body), len(a.body))
}

// lookAround makes an answer, charged to the client who asks first.
func (s *Routes) lookAround(r *readInWork, a *areaAnswer) {
	a.claim = s.Bytes.Claim(r.from.Key, r.from.Ours)
	if !a.claim.Take(s.atMost(cellsMost * cellBytes)) {
		a.err = s.tooManyBytes()
		return
	}
	list, partial, err := s.reader.Cells(a.box, a.res, cellsMost+1)
	switch {
	case err != nil:
		a.err = param.Because(err)
	case len(list) > cellsMost:
		a.err = tooManyCells()
	default:
		a.cells, a.body = len(list), query.FeaturesOf(list, partial)
	}
	a.claim.Settle(int64(cap(a.body)))
}

func tooManyCells() error {
	return param.Bad("bbox", "holds more than %d cells: take a smaller one, or a coarser res", cellsMost)
}
