package resharding

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/internal/plainjson"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/reshard"
	"pingline/sink/sets"
	"pingline/sink/store"
)

// NewShard is a shard that a node was not started with.
type NewShard struct {
	Name, Set string
	Weight    float64
	Store     store.Store
	Where     string // as in Config
	Forget    func() // called if the shard is closed, and those after it before
}

// Config names the parts of a node that are needed. All but Logger are required.
type Config struct {
	Sinks   *sets.Sets
	Open    func(text string) (NewShard, error)                      // opens the store of a --shard
	Place   func(text string) (string, error)                        // of a --shard: see Where
	Try     func(ctx context.Context, s store.Store) []store.Finding // looks whether it is as it should be
	Newest  func(*ingest.NewestPings) error                          // newest pings of all tracks: see ingest.Writer
	CellRes int                                                      // H3 resolution of the cell tag
	Submit  func(ctx context.Context, points []pingline.Entry) error // makes points durable
	Node    string
	Across  Across
	Where   map[string]string // places of the shards of the flags, equal for equal places
	Dir     string            // data directory
	Logger  *slog.Logger
	History MoveConfig
}

// Paths of the routes; behind the second comes a step.
const (
	StatusPath = "/v1/reshard"
	stepPath   = "/v1/reshard/"
)

// Measurement has a point for each step of a change.
const Measurement = "pingline_reshard"

// Names returns the tags and fields of Measurement.
func Names() (tags, fields []string) {
	return []string{"node", "set"}, []string{"id", "step", "change", "phase", "in_force", "from"}
}

// LogFile is the file of the data directory that tells of all steps, a JSON object a line.
const LogFile = "reshard.log"

// MoveConfig names the parts that are needed to move history.
type MoveConfig struct {
	Log     *queue.Log
	Points  []string // names of all points
	ByRider bool     // as moving.Config has it
	Level   func() int
	Latency func() map[string]time.Duration // of recent writes, by shard
	Erasing func() bool
}

// troubled returns a shard that takes no writes for now, or that others stand in for, and "" if
// there is none.
func troubled(eras *reshard.Eras) string {
	for _, st := range eras.Stats() {
		if st.Breaker != sink.Closed || st.HandedOver {
			return st.Shard
		}
	}
	return ""
}

func orMain(set string) string {
	if set == "" {
		return sets.Main
	}
	return set
}

func say(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(plainjson.Append([]byte(`{"error":`), err.Error()), "}\n"...)) // a client that is gone does not matter
}

func orNone(id string) string {
	if id == "" {
		return "none"
	}
	return id
}
