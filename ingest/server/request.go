package server

import (
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/ingest/phone"
	"pingline/ingest/server/rate"
	"pingline/ingest/server/sender"
	"pingline/ingest/server/share"
	"pingline/partition"
)

// request is a request of pings with all its memory, kept for the next request.
type request struct {
	protocol *phone.Protocol
	in       phone.Request
	head     header // the value of in.Header
	got      phone.Outcome
	reply    phone.Reply

	from     sender.Sender
	id       *auth.Identity
	critical bool        // the request counts as in need, and may use the reserve
	claim    share.Claim // bytes of the budget, or of the reserve
	body     []byte
	inflated []byte
	pings    phone.Pings
	runs     []ridersRun
	near     uint64  // uses the values of Touch, so that the compiler keeps its reads
	shed     []int32 // positions in the body of pings whose rider is over its rate
	job      ingest.Job
	fresh    newcomers
}

// header is the header of a request, as a protocol reads it.
type header struct{ of *fasthttp.RequestHeader }

func (h *header) Get(name string) string { return string(h.of.Peek(name)) }

// memory returns the bytes of x's lists and buffers, which grow with a request.
func (x *request) memory() int64 {
	return x.job.Memory() + x.pings.Memory() + x.got.Memory() +
		int64(cap(x.body)+cap(x.inflated)+cap(x.reply.Body)+4*cap(x.shed)+16*cap(x.runs))
}

// smallBytes is the most memory of a request of a few pings, in bytes.
const smallBytes = 64 << 10

// small reports whether x is small enough to be kept: a huge request must not pin its
// memory for good.
func (x *request) small() bool {
	const mostBytes, mostPings = 1 << 20, 4096
	return cap(x.body) <= mostBytes && cap(x.inflated) <= mostBytes && cap(x.reply.Body) <= mostBytes && cap(x.pings.List) <= mostPings
}

// cells makes the decoded pings a job. Cells are looked up here, on the request's own
// goroutine, because a cell not seen lately costs more than the writer's whole work.
func (x *request) cells(cells partition.Cells) {
	x.job.Pings = x.pings.List
	x.job.Cells = x.job.Cells[:0]
	for i := range x.job.Pings {
		x.job.Cells = append(x.job.Cells, cells.Of(&x.job.Pings[i].Fix))
	}
}

// rate takes out the pings of riders over their rate. All pings of a rider pass or none do,
// also if pings of others are between them: else a request that is sent again as a whole
// would be charged for its first pings each time, and its last would never pass. When no
// ping is left it returns the time until the first of the riders may send again, and has
// charged none of them.
func (x *request) rate(riders *rate.Buckets, now time.Time) (wait time.Duration) {
	x.findRuns(riders)
	d := &x.pings
	kept, runs := 0, x.runs[:0]
	var passed map[uint64]bool // riders of runs, as far as it is needed
	i := 0
	for _, r := range x.runs {
		end := i + r.pings
		w := riders.Take(r.key, r.pings, now)
		if w > 0 && passed == nil {
			passed = make(map[uint64]bool, len(runs))
			for _, before := range runs {
				passed[before.key] = true
			}
		}
		if w > 0 && passed[r.key] {
			riders.Pay(r.key, r.pings)
			w = 0
		}
		switch {
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
			if passed != nil {
				passed[r.key] = true
			}
		}
		i = end
	}
	d.List, d.Index, x.runs = d.List[:kept], d.Index[:kept], runs
	if kept > 0 {
		return 0
	}
	return wait
}

// ridersRun is a run of successive pings of a rider, with the rider's key in rates.
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
		x.runs = append(x.runs, ridersRun{riders.Key(pings[i].Rider), end - i})
		i = end
	}
	for _, r := range x.runs {
		x.near += riders.Touch(r.key)
	}
}

// refund gives back the charges of a request that was not kept.
func (x *request) refund(riders, clients *rate.Buckets) {
	clients.Pay(x.from.Key, -x.pings.Received)
	x.id.Pay(-x.pings.Received)
	x.fresh.refund(x.job.New)
	for _, r := range x.runs {
		riders.Pay(r.key, -r.pings)
	}
}

// events reports whether any ping has an event.
func (x *request) events() bool {
	return slices.ContainsFunc(x.pings.List, func(p pingline.Ping) bool { return p.Event != "" })
}

// past reports whether every ping is older than now by more than age.
func (x *request) past(now time.Time, age time.Duration) bool {
	latest := now.Add(-age).UnixMilli()
	return len(x.pings.List) > 0 &&
		!slices.ContainsFunc(x.pings.List, func(p pingline.Ping) bool { return p.At >= latest })
}
