package queue

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Config sets up a Log. Dir is required; the zero value of everything else takes
// its default.
type Config struct {
	Dir           string        // directory of the embedded server and its cursors, and of the high-water mark; created if missing
	URL           string        // "" or Embedded: in this process; else servers with JetStream, nats://host,host, or Kafka, kafka://host,host
	Stream        string        // "" means PINGLINE
	Node          string        // our name, shown to other nodes that want the log on servers; "" means the host's
	Addr          string        // host:port at which peers reach us, shown to them beside Node; "" if none do
	Lease         time.Duration // time after which another node may take the log on servers if we do not renew our hold; 0 means 15 s
	Standby       bool          // while another node has the log on servers, Open waits for it, instead of failing with ErrOwned
	Replicas      int           // of a stream on a cluster; 0 leaves an existing stream as it is, and creates 3, or 1 on a single server
	MaxBytes      int64         // of the log; 0 means 8 GiB; embedded, at most half of the disk that is free
	Reserve       int64         // bytes of it for Appends with reserve only; 0 means 5 %, negative none
	AppendTimeout time.Duration // after which the fate of an append is unclear; 0 means 10 s
	CacheBytes    int64         // of the newest records, held in memory; 0 means 32 MiB
	Logger        *slog.Logger  // nil means slog.Default()

	// Waiting, if set, is called by Open on Standby with the node that has the log, and since when,
	// each time that it is another.
	Waiting func(node string, since time.Time)

	// Idle, if set, says whether the caller has seen that a revision of the owner's record stayed
	// unchanged for its lease: then Open takes the log over at once. Any other record of a node
	// that has the log fails Open with ErrOwned at once, also on Standby. See ReadOwner.
	Idle func(revision uint64) bool

	// Unsynced leaves the records of an embedded log unsynced until Close has returned and the
	// caller has synced the files: for a log that is made anew from a copy.
	Unsynced bool

	unowned bool // for tests of a log that several processes have at once
}

const defaultStream = "PINGLINE"

func (c *Config) embedded() bool { return c.URL == Embedded }

func (c *Config) setDefaults() error {
	c.URL = cmp.Or(c.URL, Embedded)
	c.Stream = cmp.Or(c.Stream, defaultStream)
	c.MaxBytes = cmp.Or(c.MaxBytes, 8<<30)
	c.Lease = cmp.Or(c.Lease, 15*time.Second)
	c.AppendTimeout = cmp.Or(c.AppendTimeout, 10*time.Second)
	c.CacheBytes = cmp.Or(c.CacheBytes, 32<<20)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	switch {
	case c.Dir == "":
		return errors.New("queue: Config.Dir is empty")
	case c.MaxBytes < 0 || c.AppendTimeout < 0 || c.Lease < time.Millisecond || c.CacheBytes < 0 || c.Replicas < 0:
		return fmt.Errorf("queue: a limit is negative, or a lease too short: MaxBytes %d, AppendTimeout %v, Lease %v, CacheBytes %d, Replicas %d",
			c.MaxBytes, c.AppendTimeout, c.Lease, c.CacheBytes, c.Replicas)
	case c.Reserve >= c.MaxBytes:
		return fmt.Errorf("queue: a Reserve of %d leaves nothing of MaxBytes, %d", c.Reserve, c.MaxBytes)
	}
	c.Dir = filepath.Clean(c.Dir)
	if c.Node == "" {
		c.Node, _ = os.Hostname()
	}
	if err := CheckURL(c.URL); err != nil {
		return fmt.Errorf("queue: Config.URL: %w", err)
	}
	return nil
}
