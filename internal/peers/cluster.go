package peers

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pingline/internal/ops"
	"pingline/internal/parts"
)

// ClusterState is the cluster as a node knows it.
type ClusterState struct {
	Node     string      `json:"node"`
	Version  string      `json:"version"`
	Part     *int        `json:"part"`        // of the node; nil: it waits for one
	Drained  bool        `json:"drained"`     // it takes no part
	Unready  string      `json:"unready"`     // why it takes no pings, or ""
	Level    int         `json:"level"`       // of shedding
	Queued   uint64      `json:"queued"`      // pings of its part that wait for their store
	QueueAge float64     `json:"queue_age_s"` // of the oldest of them
	Notes    []string    `json:"notes"`       // of peers
	Parts    []PartState `json:"parts"`
}

// PartState is a part, and its owner.
type PartState struct {
	Part  int     `json:"part"`
	Node  string  `json:"node"` // "": it has none
	Peer  string  `json:"peer"` // address for other nodes
	Since string  `json:"since,omitempty"`
	Own   bool    `json:"own"`
	Lease float64 `json:"lease_s,omitempty"` // silence after which another node takes the part

	Owner *OwnerState `json:"owner,omitempty"` // nil: no answer, or asked at a node that waits, which cannot ask
}

// OwnerState is how the owner of a part does, by itself.
type OwnerState struct {
	Version  string  `json:"version"`
	Unready  string  `json:"unready"`     // why it takes no pings, or ""
	Level    int     `json:"level"`       // of shedding
	Queued   uint64  `json:"queued"`      // pings of the part that wait for their store
	QueueAge float64 `json:"queue_age_s"` // of the oldest of them
	LogBytes int64   `json:"log_bytes"`
	LogMost  int64   `json:"log_max_bytes"`
	Clock    int64   `json:"clock"` // ms since 1970
}

// outlook is how far a node knows the cluster.
type outlook struct {
	own    int // its part; -1: it waits
	owners func() []parts.PartOwner
	serves bool
}

// Routes returns the routes that tell who has the parts, and that drain the node.
func (p *Peers) Routes() []ops.AdminRoute {
	if p == nil {
		return nil
	}
	return []ops.AdminRoute{
		{Pattern: "GET /v1/parts", Handler: p.tell, About: "which node has which riders"},
		{Pattern: "GET /v1/cluster", Handler: p.tellAll, About: "the same, and how this node does"},
		{Pattern: "POST /v1/cluster/drain", Handler: p.leave, About: "gives the part away and ends; takes none until it is undone"},
		{Pattern: "POST /v1/cluster/resume", Handler: p.comeBack, About: "undoes that"},
	}
}

// state returns the owners of all parts.
func (p *Peers) state() []PartState {
	list, v := []PartState{}, p.view.Load()
	if v == nil {
		return list
	}
	for _, of := range v.owners() {
		row := PartState{Part: of.Part, Own: of.Part == v.own, Lease: of.Lease.Seconds()}
		switch {
		case row.Own:
			row.Node, row.Peer = p.cfg.Queue.Node, p.addr
		case !of.Free: // else they are of the node that had it
			row.Node, row.Peer = of.Node, of.Addr
		}
		if !of.Free {
			row.Since = of.Since.UTC().Format(time.RFC3339)
		}
		list = append(list, row)
	}
	return list
}

func (p *Peers) tell(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		Parts []PartState `json:"parts"`
	}{p.state()})
}

func (p *Peers) tellAll(w http.ResponseWriter, _ *http.Request) {
	s := ClusterState{Node: p.cfg.Queue.Node, Version: p.cfg.Version, Drained: p.drain.on(), Notes: []string{}, Parts: p.state()}
	switch v := p.view.Load(); {
	case v != nil && v.serves:
		now := p.ownState()
		s.Part, s.Unready, s.Level, s.Queued, s.QueueAge = &v.own, now.Unready, now.Level, now.Queued, now.QueueAge
		p.askOwners(s.Parts, now)
		s.Notes = append(append(s.Notes, p.Notes()...), mixed(s.Parts)...)
	default:
		s.Unready = *p.waits.Load()
		s.Notes = append(s.Notes, p.cfg.Spare.Notes()...)
	}
	answer(w, http.StatusOK, &s)
}

// ownState returns how this node does, which takes pings.
func (p *Peers) ownState() *OwnerState {
	now := p.cfg.State()
	return &OwnerState{
		Version: p.cfg.Version, Unready: now.Unready, Level: now.Level, Queued: now.Queued, QueueAge: now.QueueAge.Seconds(),
		LogBytes: now.LogBytes, LogMost: now.LogMost, Clock: time.Now().UnixMilli(),
	}
}

// askOwners has each owner tell how it does, all at once. A silent one delays the answer by forward.AskTimeout.
func (p *Peers) askOwners(list []PartState, own *OwnerState) {
	var wg sync.WaitGroup
	for i := range list {
		switch part := &list[i]; {
		case part.Own:
			part.Owner = own
		case part.Node != "":
			wg.Go(func() { // it fails as forwarding does, of which Notes tell
				said := new(OwnerState)
				if text, err := p.gatherer.State(part.Part); err == nil && json.Unmarshal(text, said) == nil {
					part.Owner = said
				}
			})
		}
	}
	wg.Wait()
}

// mixed returns a sentence if owners are of different versions.
func mixed(list []PartState) []string {
	nodes := map[string][]string{} // by version
	for i := range list {
		if o := list[i].Owner; o != nil && !slices.Contains(nodes[o.Version], list[i].Node) {
			nodes[o.Version] = append(nodes[o.Version], list[i].Node)
		}
	}
	if len(nodes) < 2 {
		return nil
	}
	var is []string
	for _, version := range slices.Sorted(maps.Keys(nodes)) {
		is = append(is, version+" at "+strings.Join(nodes[version], ", "))
	}
	return []string{"nodes are of different versions: " + strings.Join(is, "; ")}
}

// leave drains the node.
func (p *Peers) leave(w http.ResponseWriter, _ *http.Request) {
	end, err := p.drain.begin()
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "drain: " + err.Error()})
		return
	}
	p.cfg.Logger.Info("drained: this node takes no part until pingline cluster resume")
	p.tellAll(w, nil)
	_ = http.NewResponseController(w).Flush() // the answer comes before the end
	end()
}

func (p *Peers) comeBack(w http.ResponseWriter, _ *http.Request) {
	if err := p.drain.undo(); err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "resume: " + err.Error()})
		return
	}
	p.tellAll(w, nil)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone does not matter
}
