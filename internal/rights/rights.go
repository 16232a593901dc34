// Package rights answers for a rider on the operations listener of a server: it tells what
// is known of the rider and is in no store yet, and it removes the rider.
//
// A removal that was asked for is done, whatever moment the process dies at. Of what came
// before it nothing is left: in no store, no dead letter, no checkpoint, and no record of
// the log. What comes afterwards is that of a new rider, and none of it is lost. It takes
// as long as a store is away, and some minutes for the roll-up to pass the log.
//
// It does not reach copies: backups, replicas, what other programs have read, the servers
// of a NATS cluster, and the files of InfluxDB before it compacts them.
package rights

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/privacy"
	"pingline/internal/ops"
	"pingline/internal/plainjson"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/deadletter"
)

// Config names the parts of a node that know of riders. All but Names and the last two are
// required.
type Config struct {
	Removals *Removals
	Log      *queue.Log
	Writer   *ingest.Writer
	Written  func() uint64 // number of the first commit that is not completely in the stores
	Letters  *deadletter.Dir
	Shards   func() []sink.ShardStore // that pings may be in
	Forget   func(rider string)       // has other parts forget a rider whom the filter has forgotten
	Names    *privacy.Pseudonyms      // by which riders are stored; nil: by their own names
	Node     string

	// Elsewhere, if set, returns why a rider, by the name by which he is stored, is not of this node.
	Elsewhere func(stored string) string

	Logger *slog.Logger

	// Read and Removed, if set, are told of requests for a rider's pings, and for a removal
	// by its ID.
	Read    func(req *http.Request, rider string)
	Removed func(req *http.Request, removal string)
}

// Rights answers for riders. It is safe for concurrent use.
type Rights struct {
	cfg      Config
	renewals sync.Map // by ID of a removal
}

// New returns the rights over the parts of a node.
func New(cfg Config) *Rights { return &Rights{cfg: cfg} }

// Routes returns the routes for administrators.
func (r *Rights) Routes() []ops.AdminRoute {
	return []ops.AdminRoute{
		{Pattern: "GET /v1/riders/{id}/unstored", Handler: r.unstored, About: "pings of a rider that are in no store yet"},
		{Pattern: "DELETE /v1/riders/{id}", Handler: r.delete, About: "removes a rider"},
		{Pattern: "GET /v1/removals/{id}", Handler: r.removal, About: "how far a removal is"},
	}
}

// delete asks for the removal of a rider, and answers 202 once that is durable.
func (r *Rights) delete(w http.ResponseWriter, req *http.Request) {
	rider := req.PathValue("id")
	if err := pingline.CheckID(pingline.KeyRider.String(), rider); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if r.misdirected(w, rider) {
		return
	}
	m, err := r.ask(rider)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	if r.cfg.Removed != nil {
		r.cfg.Removed(req, m.ID)
	}
	answer(w, http.StatusAccepted, &m)
}

// misdirected answers a request for a rider whom another node has, by 421.
func (r *Rights) misdirected(w http.ResponseWriter, rider string) bool {
	if r.cfg.Elsewhere == nil {
		return false
	}
	why := r.cfg.Elsewhere(r.cfg.Names.Stored(rider))
	if why != "" {
		refuse(w, http.StatusMisdirectedRequest, errors.New(why))
	}
	return why != ""
}

// ask asks for the removal of a rider by each name that pings of the rider may have.
func (r *Rights) ask(rider string) (Removal, error) {
	also := ""
	stored := r.cfg.Names.Stored(rider)
	if stored != rider { // pings from before there were pseudonyms
		m, err := r.cfg.Removals.Ask(rider, "")
		if err != nil {
			return m, err
		}
		also = m.ID
	}
	return r.cfg.Removals.Ask(stored, also)
}

// removal answers with a removal.
func (r *Rights) removal(w http.ResponseWriter, req *http.Request) {
	m, err := r.cfg.Removals.Get(req.PathValue("id"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, http.StatusNotFound, errors.New("there is no such removal"))
	case err != nil:
		refuse(w, http.StatusInternalServerError, err)
	default:
		answer(w, http.StatusOK, &m)
	}
}

func answer(w http.ResponseWriter, status int, m *Removal) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(m) // a client that is gone does not matter
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(plainjson.Append([]byte(`{"error":`), err.Error()), "}\n"...)) // a client that is gone does not matter
}
