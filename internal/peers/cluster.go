package peers

import (
	"encoding/json"
	"net/http"
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
		now := p.cfg.State()
		s.Part, s.Unready, s.Level, s.Queued, s.QueueAge = &v.own, now.Unready, now.Level, now.Queued, now.QueueAge.Seconds()
		s.Notes = append(s.Notes, p.Notes()...)
	default:
		s.Unready = *p.waits.Load()
	}
	answer(w, http.StatusOK, &s)
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
