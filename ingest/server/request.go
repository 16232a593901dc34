package server

import (
	"net/netip"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server/rate"
	"pingline/partition"
)

// request is a request of pings and all that it needs on its way, kept for the next.
type request struct {
	protocol *phone.Protocol
	in       phone.Request
	head     header // what in.Header is
	got      phone.Outcome
	reply    phone.Reply

	sender   netip.Addr
	client   uint64 // sender's key
	ours     bool   // the client is one of those we trust
	critical bool   // may use what is reserved for those in need
	claim    claim  // bytes of the budget, or of the reserve
	body     []byte
	inflated []byte
	pings    phone.Pings
	runs     []ridersRun
	near     uint64  // says nothing: what was touched must be used
	shed     []int32 // positions in the body of pings whose rider is over its rate
	job      ingest.Job
	fresh    newcomers
}

// header is that of a request, as a protocol reads it.
type header struct{ of *fasthttp.RequestHeader }

func (h *header) Get(name string) string { return string(h.of.Peek(name)) }

// memory returns how many bytes x takes, of those that grow with a request.
func (x *request) memory() int64 {
	return x.job.Memory() + x.pings.Memory() + x.got.Memory() +
		int64(cap(x.body)+cap(x.inflated)+cap(x.reply.Body)+4*cap(x.shed)+16*cap(x.runs))
}

// smallBytes is the memory of a request that was in use for little: a ping or a
// few.
const smallBytes = 64 << 10

// small reports whether x is worth keeping: one huge request must not pin its
// memory for good.
func (x *request) small() bool {
	const mostBytes, mostPings = 1 << 20, 4096
	return cap(x.body) <= mostBytes && cap(x.inflated) <= mostBytes && cap(x.reply.Body) <= mostBytes && cap(x.pings.List) <= mostPings
}

// cells makes the decoded pings a job. Cells are looked up here, on the
// request's own goroutine: one not seen lately costs more than all that the
// writer does.
func (x *request) cells(cells partition.Cells) {
	x.job.Pings = x.pings.List
	x.job.Cells = x.job.Cells[:0]
	for i := range x.job.Pings {
		x.job.Cells = append(x.job.Cells, cells.Of(&x.job.Pings[i].Fix))
	}
}

// rate takes the pings of riders over their rate out. When no ping is left it
// returns how long it is until one of these riders may send again, and has taken
// nothing from any bucket.
func (x *request) rate(riders *rate.Buckets, now time.Time) (wait time.Duration) {
	x.findRuns(riders)
	d := &x.pings
	kept, runs := 0, x.runs[:0]
	i := 0
	for _, r := range x.runs {
		end := i + r.pings
		switch w := riders.Take(r.key, r.pings, now); {
		case w > 0:
			x.shed = append(x.shed, d.Index[i:end]...)
			if wait == 0 || w < wait {
				wait = w
			}
		default:
			if kept < i {
				copy(d.List[kept:], d.List[i:end])
				copy(d.Index[kept:], d.Index[i:end])
			}
			kept += r.pings
			runs = append(runs, r)
		}
		i = end
	}
	d.List, d.Index, x.runs = d.List[:kept], d.Index[:kept], runs
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
func (x *request) findRuns(riders *rate.Buckets) {
	pings := x.pings.List
	for i, end := 0, 1; i < len(pings); end++ {
		if end < len(pings) && pings[end].Rider == pings[i].Rider {
			continue
		}
		key := riders.Key(pings[i].Rider)
		x.near += riders.Touch(key)
		x.runs = append(x.runs, ridersRun{key, end - i})
		i = end
	}
}

// refund gives back what the request was charged: nothing of it was kept.
func (x *request) refund(riders, clients *rate.Buckets) {
	clients.Pay(x.client, -x.pings.Received)
	x.fresh.refund(x.job.New)
	for _, r := range x.runs {
		riders.Pay(r.key, -r.pings)
	}
}

// events reports whether one of the pings has an event.
func (x *request) events() bool {
	return slices.ContainsFunc(x.pings.List, func(p pingline.Ping) bool { return p.Event != "" })
}

// past reports whether every ping is older than now by more than age.
func (x *request) past(now time.Time, age time.Duration) bool {
	latest := now.Add(-age).UnixMilli()
	return len(x.pings.List) > 0 &&
		!slices.ContainsFunc(x.pings.List, func(p pingline.Ping) bool { return p.At >= latest })
}
