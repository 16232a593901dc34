package ingest

import (
	"encoding/json"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/partition"
)

// exchange is what one request needs on its way, kept for the next.
type exchange struct {
	inflated []byte
	decoded  Decoded
	job      Job
	verdicts []pingline.Verdict // of every ping of the request, in its order
	out      []byte
}

// small reports whether x is worth keeping: one huge request must not pin its
// memory for good.
func (x *exchange) small() bool {
	const mostBytes, mostPings = 1 << 20, 4096
	return cap(x.inflated) <= mostBytes && cap(x.out) <= mostBytes && cap(x.decoded.Pings) <= mostPings
}

// cells makes the decoded pings a job. Cells are looked up here, on the
// request's own goroutine: one not seen lately costs more than all that the
// writer does.
func (x *exchange) cells(cells partition.Cells) {
	x.job.Pings = x.decoded.Pings
	x.job.Cells = x.job.Cells[:0]
	for i := range x.job.Pings {
		x.job.Cells = append(x.job.Cells, cells.Of(&x.job.Pings[i].Fix))
	}
}

// answer writes the verdicts of a request whose job is done.
func (x *exchange) answer(c *fiber.Ctx) {
	var counts [pingline.Verdicts]int
	for _, v := range x.job.Verdicts[:len(x.job.Pings)] {
		counts[v]++
	}
	counts[pingline.Rejected] = x.decoded.Received - len(x.job.Pings)
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	out := x.out[:0]
	if x.decoded.Received > 0 && len(x.job.Pings) == 0 {
		c.Status(fiber.StatusBadRequest)
		out = append(out, `{"error":"every ping was rejected"`...)
	} else {
		out = append(out, '{')
		for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
			out = append(append(append(out, '"'), v.String()...), `":`...)
			out = append(strconv.AppendInt(out, int64(counts[v]), 10), ',')
		}
		out = strconv.AppendFloat(append(out, `"max_error":`...), x.job.Bound.MaxError, 'f', -1, 64)
		out = strconv.AppendFloat(append(out, `,"accuracy_cap":`...), x.job.Bound.AccuracyCap, 'f', -1, 64)
		if c.Query("verdicts") == "1" {
			out = x.appendVerdicts(append(out, `,"verdicts":`...))
		}
	}
	out = x.appendErrors(append(out, `,"errors":`...))
	x.out = append(out, '}')
	c.Response().SetBody(x.out) // copies
}

// appendVerdicts appends one verdict for every ping of the request, in order.
func (x *exchange) appendVerdicts(out []byte) []byte {
	x.verdicts = x.verdicts[:0]
	for range x.decoded.Received {
		x.verdicts = append(x.verdicts, pingline.Rejected)
	}
	for i, at := range x.decoded.Index {
		x.verdicts[at] = x.job.Verdicts[i]
	}
	out = append(out, '[')
	for i, v := range x.verdicts {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), v.String()...), '"')
	}
	return append(out, ']')
}

// appendErrors appends why pings were rejected, at most the first 100.
func (x *exchange) appendErrors(out []byte) []byte {
	if len(x.decoded.Rejected) == 0 {
		return append(out, "[]"...)
	}
	list, err := json.Marshal(x.decoded.Rejected)
	if err != nil {
		panic(err) // numbers and strings always marshal
	}
	return append(out, list...)
}
