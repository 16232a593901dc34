package reads

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/param"
	"pingline/internal/plainjson"
	"pingline/partition"
	"pingline/query"
	"pingline/query/history"
)

// cellsAt answers with the activity in a box at an earlier time.
func (s *Routes) cellsAt(c *fiber.Ctx, r *readInWork, box partition.Box, res int) error {
	var at int64
	if err := param.Time(c, "at", &at, nil); err != nil {
		return err
	}
	from, err := s.setOf(c, hasPast)
	if err != nil {
		return err
	}
	if err := s.chargeMost(r, cellsMost*cellBytes); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	list, partial, err := from.Past.Cells(ctx, box, res, at, cellsMost+1)
	switch {
	case errors.Is(err, history.ErrNotKept):
		return param.Bad("res", "%v", err)
	case err != nil:
		return storeError(err)
	case len(list) > cellsMost:
		return tooManyCells()
	}
	s.pay(r, len(list)/pointsOfOne)
	body := query.FeaturesOf(list, partial)
	return s.answer(c, r, mimeGeoJSON, bytes.NewReader(body), len(body))
}

// ridersAt answers with where the riders in a box were at an earlier time.
func (s *Routes) ridersAt(c *fiber.Ctx, r *readInWork, box partition.Box) error {
	q := query.Then{Box: box}
	if err := param.Time(c, "at", &q.At, nil); err != nil {
		return err
	}
	from, err := s.setOf(c, hasPings)
	if err != nil {
		return err
	}
	if q.Most, err = param.Int(c, "limit", param.PageMost, 1, param.SeenMost); err != nil {
		return err
	}
	if err := s.chargeMost(r, query.SeenBytes); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	seen, err := from.RidersAt(ctx, &q)
	switch {
	case errors.Is(err, query.ErrTooMany):
		return param.Bad("bbox", "%v: take a smaller one", err)
	case err != nil:
		return storeError(err)
	}
	return s.answerSeen(c, r, seen.List, seen.AppendSeen, query.RidersEnd(&seen.Riders))
}

// history answers with the activity in a box, step after step.
func (s *Routes) history(c *fiber.Ctx, r *readInWork) error {
	q, err := param.Period(c, time.Now())
	if err != nil {
		return err
	}
	from, err := s.setOf(c, hasPast)
	if err != nil {
		return err
	}
	if q.Res, err = from.Past.Resolution(q.Res); err != nil {
		return param.Bad("res", "%v", err)
	}
	if err := from.Past.Check(&q); err != nil {
		return param.Bad("step", "%v", err)
	}
	if err := s.chargeMost(r, history.MostBytes); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	steps, err := from.Past.Steps(ctx, &q)
	if errors.Is(err, history.ErrTooMuch) {
		return param.Bad("bbox", "%v", err)
	} else if err != nil {
		return storeError(err)
	}
	s.pay(r, len(steps.Steps)/10)
	return s.answer(c, r, fiber.MIMEApplicationJSON, bytes.NewReader(plainjson.Append(nil, steps)), -1)
}
