package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pingline/internal/pause"
	"pingline/partition"
	"pingline/queue"
	"pingline/queue/jetstream"
)

// clusterRecord fixes the number of parts of a cluster: a rider's part follows from it. It is
// the key "parts" of the bucket PINGLINE-cluster.
type clusterRecord struct {
	Form  int `json:"form"` // of the record: 1
	Parts int `json:"parts"`
}

const (
	clusterForm = 1
	clusterKey  = "parts"
)

// ErrParts is wrapped by errors that say that a cluster has another number of parts than we
// want: a setting of ours is wrong.
var ErrParts = errors.New("the number of parts is fixed when a cluster is made")

// Agree makes sure that the cluster on the servers has cfg.Parts parts. The first node to come
// fixes their number, unless the log of a node without parts is there. An error wraps ErrParts
// if the number is another. A node without parts may ask, too: with Parts 1, nothing is made.
func Agree(ctx context.Context, cfg Config) error {
	if err := cfg.setDefaults(1); err != nil {
		return err
	}
	shelves, err := jetstream.OpenShelves(cfg.URL, cfg.Logger)
	if err != nil {
		return err
	}
	defer shelves.Close()
	return agree(ctx, shelves, &cfg)
}

func agree(ctx context.Context, shelves *jetstream.Shelves, cfg *Config) error {
	for tries := 0; ; tries++ {
		rev, there, err := looked(ctx, shelves, cfg)
		if err != nil || there || cfg.Parts == 1 {
			return err
		}
		if err := refuseLog(ctx, shelves, cfg); err != nil {
			return err
		}
		err = makeCluster(ctx, shelves, cfg, rev)
		if err == nil {
			cfg.Logger.Info("a cluster is made", "parts", cfg.Parts)
			return nil
		}
		// Another node was faster, the record is there without an answer, or its stream has no leader yet.
		if tries == 8 {
			return fmt.Errorf("write how many parts the cluster has: %w", err)
		}
		if err := pause.For(ctx, 10*time.Millisecond<<tries); err != nil {
			return err
		}
	}
}

// looked reports whether the record is there, and its revision. It returns an error if the
// record is not as we want it.
func looked(ctx context.Context, shelves *jetstream.Shelves, cfg *Config) (rev uint64, there bool, err error) {
	value, rev, err := shelves.Load(ctx, cfg.Stream+"-cluster", clusterKey)
	if err != nil {
		return 0, false, fmt.Errorf("read how many parts the cluster has: %w", err)
	}
	if len(value) == 0 {
		return rev, false, nil
	}
	return rev, true, check(value, cfg)
}

func makeCluster(ctx context.Context, shelves *jetstream.Shelves, cfg *Config, rev uint64) error {
	shelf, err := shelves.Make(ctx, cfg.Stream+"-cluster", clusterKey)
	if err != nil {
		return err
	}
	value, err := json.Marshal(clusterRecord{Form: clusterForm, Parts: cfg.Parts})
	if err != nil {
		return err
	}
	_, err = shelf.Save(ctx, value, rev)
	return err
}

// check returns an error unless a record says that the cluster has as many parts as we want.
func check(value []byte, cfg *Config) error {
	r, err := decodeCluster(value)
	if err != nil {
		return fmt.Errorf("read how many parts the cluster has, in the bucket %s-cluster: %w", cfg.Stream, err)
	}
	if r.Parts != cfg.Parts {
		return fmt.Errorf("--parts=%d: the cluster on these servers has %d parts, and %w: start with --parts=%d, or name servers of another cluster in --queue",
			cfg.Parts, r.Parts, ErrParts, r.Parts)
	}
	return nil
}

func decodeCluster(value []byte) (r clusterRecord, err error) {
	if err := json.Unmarshal(value, &r); err != nil {
		return r, err
	}
	if r.Form > clusterForm {
		return r, fmt.Errorf("form %d, this program knows %d: %w", r.Form, clusterForm, queue.ErrNewer)
	}
	if r.Form < 1 || r.Parts < 2 || r.Parts > partition.MaxParts || r.Parts&(r.Parts-1) != 0 {
		return r, fmt.Errorf("form %d with %d parts, must be a power of two in [2, %d]", r.Form, r.Parts, partition.MaxParts)
	}
	return r, nil
}

// refuseLog returns an error if the log of a node without parts is on the servers: nobody would
// write its pings to the store, and its riders would be judged anew.
func refuseLog(ctx context.Context, shelves *jetstream.Shelves, cfg *Config) error {
	n, err := shelves.Messages(ctx, cfg.Stream)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("--parts=%d: the stream %s has %d records of a node with --parts=1, and %w: start with --parts=1, or, "+
			"once all of it is written, delete the stream (nats stream rm %[2]s), or name other servers in --queue", cfg.Parts, cfg.Stream, n, ErrParts)
	}
	return nil
}
