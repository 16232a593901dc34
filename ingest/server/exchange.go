package server

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/ingest"
	"pingline/partition"
)

// exchange is what one request needs on its way, kept for the next.
type exchange struct {
	sender   netip.Addr
	client   uint64 // sender's key
	ours     bool   // the client is one of those we trust
	critical bool   // may use what is reserved for those in need
	claim    claim  // bytes of the budget, or of the reserve
	body     []byte
	inflated []byte
	decoded  Decoded
	runs     []ridersRun
	near     uint64  // says nothing: what was touched must be used
	shed     []int32 // positions in the body of pings whose rider is over its rate
	job      ingest.Job
	fresh    newcomers
	verdicts []pingline.Verdict // of every ping of the request, in its order
	out      []byte
}

// memory returns how many bytes x takes, of those that grow with a request.
func (x *exchange) memory() int64 {
	const ping = int(unsafe.Sizeof(pingline.Ping{}))
	d, j := &x.decoded, &x.job
	return j.Memory() + int64(cap(x.body)+cap(x.inflated)+cap(x.out)+cap(d.Pings)*ping+4*cap(d.Index)+4*cap(x.shed)+
		16*cap(x.runs)+cap(x.verdicts))
}

// smallBytes is the memory of an exchange that was in use for little: a ping or a
// few.
const smallBytes = 64 << 10

// small reports whether x is worth keeping: one huge request must not pin its
// memory for good.
func (x *exchange) small() bool {
	const mostBytes, mostPings = 1 << 20, 4096
	return cap(x.body) <= mostBytes && cap(x.inflated) <= mostBytes && cap(x.out) <= mostBytes && cap(x.decoded.Pings) <= mostPings
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

// rate takes the pings of riders over their rate out. When no ping is left it
// returns how long it is until one of these riders may send again, and has taken
// nothing from any bucket.
func (x *exchange) rate(riders *rates, now time.Time) (wait time.Duration) {
	x.findRuns(riders)
	d := &x.decoded
	kept, runs := 0, x.runs[:0]
	i := 0
	for _, r := range x.runs {
		end := i + r.pings
		switch w := riders.take(r.key, r.pings, now); {
		case w > 0:
			x.shed = append(x.shed, d.Index[i:end]...)
			if wait == 0 || w < wait {
				wait = w
			}
		default:
			if kept < i {
				copy(d.Pings[kept:], d.Pings[i:end])
				copy(d.Index[kept:], d.Index[i:end])
			}
			kept += r.pings
			runs = append(runs, r)
		}
		i = end
	}
	d.Pings, d.Index, x.runs = d.Pings[:kept], d.Index[:kept], runs
	if kept > 0 {
		return 0
	}
	return wait
}

// ridersRun is pings of one rider in a row, as the rider's rate knows it.
type ridersRun struct {
	key   uint64
	pings int
}

// findRuns notes the runs of the decoded pings and brings their buckets near.
func (x *exchange) findRuns(riders *rates) {
	pings := x.decoded.Pings
	for i, end := 0, 1; i < len(pings); end++ {
		if end < len(pings) && pings[end].Rider == pings[i].Rider {
			continue
		}
		key := riders.key(pings[i].Rider)
		x.near += riders.touch(key)
		x.runs = append(x.runs, ridersRun{key, end - i})
		i = end
	}
}

// refund gives back what the request was charged: nothing of it was kept.
func (x *exchange) refund(riders, clients *rates) {
	clients.pay(x.client, -x.decoded.Received)
	x.fresh.refund(x.job.New)
	for _, r := range x.runs {
		riders.pay(r.key, -r.pings)
	}
}

// events reports whether one of the pings has an event.
func (x *exchange) events() bool {
	return slices.ContainsFunc(x.decoded.Pings, func(p pingline.Ping) bool { return p.Event != "" })
}

// past reports whether every ping is older than now by more than age.
func (x *exchange) past(now time.Time, age time.Duration) bool {
	latest := now.Add(-age).UnixMilli()
	return len(x.decoded.Pings) > 0 &&
		!slices.ContainsFunc(x.decoded.Pings, func(p pingline.Ping) bool { return p.At >= latest })
}

// answer writes the verdicts of a request whose job is done.
func (x *exchange) answer(c *fiber.Ctx) {
	var counts [pingline.Verdicts]int
	for _, v := range x.job.Verdicts[:len(x.job.Pings)] {
		counts[v]++
	}
	counts[pingline.Shed] += len(x.shed)
	counts[pingline.Rejected] = x.decoded.Received - len(x.job.Pings) - len(x.shed)
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
	for _, at := range x.shed {
		x.verdicts[at] = pingline.Shed
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

// appendErrors appends why pings were rejected, or shed before they were judged,
// at most the first 100.
func (x *exchange) appendErrors(out []byte) []byte {
	errs := x.decoded.Rejected
	if len(x.shed)+len(x.job.Over) > 0 {
		for _, at := range x.shed[:min(len(x.shed), maxRejections)] {
			errs = append(errs, Rejection{Index: int(at), Reason: "rate"})
		}
		for _, at := range x.job.Over[:min(len(x.job.Over), maxRejections)] {
			errs = append(errs, Rejection{Index: int(x.decoded.Index[at]), Reason: "rate of new riders"})
		}
		slices.SortFunc(errs, func(a, b Rejection) int { return a.Index - b.Index })
		errs = errs[:min(len(errs), maxRejections)]
	}
	if len(errs) == 0 {
		return append(out, "[]"...)
	}
	list, err := json.Marshal(errs)
	if err != nil {
		panic(err) // numbers and strings always marshal
	}
	return append(out, list...)
}
