package plan

import (
	"fmt"
	"math"

	"pingline/internal/unit"
)

// Nodes is how many processes of pingline serve the fleet needs: for the cores of a
// machine, for the one writer of a node and for a machine's memory alone, and in all.
type Nodes struct {
	Ingesters int `json:"ingesters"`   // that take pings: 1, or a power of two that is not below the largest of the three
	Spares    int `json:"spare_nodes"` // that wait for the part of a node that dies
	Clusters  int `json:"clusters"`    // each of so many nodes, with riders of its own
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
	n.share(max(n.ByCores, n.ByWriter, n.ByMemory))
	each := float64(n.logs())
	n.Busy = p.IngestCores / each / cores
	n.NodeMemory = f.base.Value + p.RiderMemory/each
	tail := math.Min((p.Pings+p.Located)/each*f.checkpoint.Value, f.replayed.Value)
	n.Restart = float64(p.cfg.Riders)/each*f.load.Value/1e6 + tail*f.replay.Value/1e9
	n.Takeover = f.lease.Value + n.Restart
	return n
}

// mostParts is the most parts of a cluster.
const mostParts = 64

// share divides work for so many nodes: a part is a node's, and the number of parts a power of
// two.
func (n *Nodes) share(nodes int) {
	n.Ingesters, n.Clusters = 1, (nodes+mostParts-1)/mostParts
	for n.Ingesters*n.Clusters < nodes {
		n.Ingesters *= 2
	}
	if n.Ingesters > 1 {
		n.Spares = 1
	}
}

// logs is how many logs there are: one a part.
func (n *Nodes) logs() int { return n.Ingesters * n.Clusters }

// reason names the demand that needs the most nodes.
func (n *Nodes) reason() string {
	switch max(n.ByCores, n.ByWriter, n.ByMemory) {
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
		number = fmt.Sprintf("%s, %s and a spare; each", count(float64(p.Ingesters+p.Spares)), unit.Plural(uint64(p.Ingesters), "part", "parts"))
	}
	if p.Clusters > 1 {
		number = fmt.Sprintf("%s clusters of %s", count(float64(p.Clusters)), number)
	}
	return fmt.Sprintf("%s %s of %d cores, %s of %v; it takes pings %s after a start", number, percent(p.Busy), p.cfg.Cores,
		unit.Size(p.NodeMemory), p.cfg.Memory, about(p.Restart))
}

// nodesAdvice says how many nodes to run, and when a standby is of use.
func (p *Plan) nodesAdvice() (list []string) {
	if p.Ingesters == 1 && p.Clusters == 1 {
		return []string{fmt.Sprintf("A second pingline serve with --standby, and a log on three NATS servers, if pings must be taken within %s of a machine's death; phones keep theirs meanwhile.",
			about(p.Takeover))}
	}
	of := map[string]string{
		"cores":  fmt.Sprintf("%s cores would be busy, and half of %d is planned with", decimal(p.IngestCores), p.cfg.Cores),
		"writer": fmt.Sprintf("its one writer would be busy for %s, and half is planned with", percent(p.WriterBusy)),
		"memory": fmt.Sprintf("the filter has %s, and half of %v is planned with", unit.Size(p.RiderMemory), p.cfg.Memory),
	}
	say := fmt.Sprintf("One pingline serve is not enough, because of the %s: %s. Use --parts=%d on %s nodes, of which one waits, and a log on three NATS servers: the part of a machine that dies takes pings again within %s. What nodes send each other is not counted.",
		p.reason(), of[p.reason()], p.Ingesters, count(float64(p.Ingesters+p.Spares)), about(p.Takeover))
	if p.Clusters > 1 {
		say += fmt.Sprintf(" A cluster has %d parts at most: use %s clusters, each with riders of its own.", mostParts, count(float64(p.Clusters)))
	}
	return []string{say}
}
