package plan

import (
	"fmt"
	"math"

	"pingline/internal/unit"
)

// Nodes is how many processes of pingline serve the fleet needs: for the cores of a
// machine, for the one writer of a node and for a machine's memory alone, and in all.
type Nodes struct {
	Ingesters int `json:"ingesters"` // the largest of the three
	ByCores   int `json:"ingesters_for_cores"`
	ByWriter  int `json:"ingesters_for_writer"`
	ByMemory  int `json:"ingesters_for_memory"`

	Busy       float64 `json:"node_busy"`         // part of a machine's cores, of each
	NodeMemory float64 `json:"node_memory_bytes"` // of each
	Restart    float64 `json:"restart_s"`         // from the start of a node that was killed until it takes pings
	Takeover   float64 `json:"takeover_s"`        // from its death until a standby takes pings
}

// nodes divides the work of IngestCores, WriterBusy and RiderMemory between machines,
// each of which is to be half busy.
func (p *Plan) nodes() (n Nodes) {
	f := p.figures
	cores, memory := float64(p.cfg.Cores), float64(p.cfg.Memory)
	least := func(whole, each float64) int { return int(math.Max(1, math.Ceil(whole/each))) }
	n.ByCores = least(p.IngestCores, cores*f.headroom.Value)
	n.ByWriter = least(p.WriterBusy, f.headroom.Value)
	n.ByMemory = least(p.RiderMemory, math.Max(memory*f.headroom.Value-f.base.Value, 1))
	n.Ingesters = max(n.ByCores, n.ByWriter, n.ByMemory)
	each := float64(n.Ingesters)
	n.Busy = p.IngestCores / each / cores
	n.NodeMemory = f.base.Value + p.RiderMemory/each
	tail := math.Min((p.Pings+p.Located)/each*f.checkpoint.Value, f.replayed.Value)
	n.Restart = float64(p.cfg.Riders)/each*f.load.Value/1e6 + tail*f.replay.Value/1e9
	n.Takeover = f.lease.Value + n.Restart
	return n
}

// reason names the demand that needs the most nodes.
func (n *Nodes) reason() string {
	switch n.Ingesters {
	case n.ByCores:
		return "cores"
	case n.ByWriter:
		return "writer"
	}
	return "memory"
}

// nodesText says how many nodes there are to be, and how busy each is.
func (p *Plan) nodesText() string {
	number := "one is enough:"
	if p.Ingesters > 1 {
		number = fmt.Sprintf("%s, each", count(float64(p.Ingesters)))
	}
	return fmt.Sprintf("%s %s of %d cores, %s of %v; it takes pings %s after a start", number, percent(p.Busy), p.cfg.Cores,
		unit.Size(p.NodeMemory), p.cfg.Memory, about(p.Restart))
}

// nodesAdvice says how many nodes to run, and when a standby is of use.
func (p *Plan) nodesAdvice() (list []string) {
	if p.Ingesters > 1 {
		list = append(list, fmt.Sprintf("One pingline serve is not enough, because of the %s: use %s of %d cores and %v, each with a log of its own, and send all pings of a rider to the same one.",
			p.reason(), count(float64(p.Ingesters)), p.cfg.Cores, p.cfg.Memory))
	}
	which := "A second pingline serve on standby"
	if p.Ingesters > 1 {
		which = "Another pingline serve for each on standby"
	}
	return append(list, fmt.Sprintf("%s, and a log on three NATS servers, if pings must be taken within %s of a machine's death; phones keep theirs meanwhile.", which, about(p.Takeover)))
}
