package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pingline/ingest/privacy"
	"pingline/internal/unit"
	"pingline/queue/disk"
	"pingline/sink/store"
)

// Tried is the result of a check before a node is opened.
type Tried struct {
	Of string // the shard, such as "shard a", or another subject such as "disk"
	store.Finding
}

// Try checks whether a node with this configuration could run: each shard's store, the
// files of TLS, the key of pseudonyms, the disk, and the limit of open files. It opens no log, takes no lock, and writes to no
// store. The configuration must have been checked.
func Try(ctx context.Context, c *Config) ([]Tried, error) {
	quiet := *c
	quiet.Logger = slog.New(slog.DiscardHandler)
	l, err := newLayout(&quiet)
	if err != nil {
		return nil, err
	}
	shards := l.all()
	lists := make([][]store.Finding, len(shards))
	var wg sync.WaitGroup
	for i := range shards {
		wg.Go(func() { lists[i] = tryStore(ctx, shards[i].Store, c.MaxAge) })
	}
	wg.Wait()
	var all []Tried
	for i, list := range lists {
		for _, f := range list {
			all = append(all, Tried{"shard " + shards[i].Name, f})
		}
		if err := shards[i].Store.Close(); err != nil {
			return all, err
		}
	}
	if c.TLS.On() {
		all = append(all, Tried{"tls", c.tryTLS()})
	}
	if c.Privacy.Keys != "" {
		all = append(all, Tried{"pseudonyms", c.tryPseudonyms()})
	}
	return append(all, Tried{"disk", c.tryDisk()}, Tried{"files", c.tryFiles(maxFiles())}), nil
}

// tryStore checks a store that is a Checker, and compares how long it keeps pings
// with how old they may be.
func tryStore(ctx context.Context, s store.Store, maxAge time.Duration) []store.Finding {
	checker, ok := s.(store.Checker)
	if !ok {
		return nil
	}
	list := checker.Check(ctx)
	for _, f := range list {
		if f.What == "reachable" && f.Remedy != "" {
			return list
		}
	}
	if r, ok := s.(store.Retainer); ok {
		keep, told := r.Retention(ctx)
		list = append(list, compareRetention(keep, told, maxAge))
	}
	return list
}

func compareRetention(keep time.Duration, told bool, maxAge time.Duration) store.Finding {
	f := store.Finding{What: "retention"}
	switch {
	case !told:
		f.Found = "is not told to this token: if it is shorter than --max-age, older pings become dead letters"
	case keep == 0:
		f.Found = "pings are kept for ever"
	case keep < maxAge:
		f.Found = fmt.Sprintf("pings are kept for %v, and --max-age takes pings up to %v old", unit.Span(keep), unit.Span(maxAge))
		f.Remedy = fmt.Sprintf("set --max-age=%v, or keep pings longer: older pings are refused", unit.Span(keep))
	default:
		f.Found = fmt.Sprintf("pings are kept for %v, at least as long as --max-age lets them be old", unit.Span(keep))
	}
	return f
}

// tryPseudonyms reads the file of --pseudonyms.
func (c *Config) tryPseudonyms() store.Finding {
	f := store.Finding{What: "key"}
	names, open, err := privacy.ReadPseudonyms(c.Privacy.Keys)
	switch {
	case err != nil:
		f.Found, f.Remedy = fmt.Sprintf("--pseudonyms: %v", err), "put the file right, or name another"
	case open:
		f.Found = fmt.Sprintf("%s has key %s, and others may read it, and so find riders by trying: chmod 600", c.Privacy.Keys, names.Mark())
	default:
		f.Found = fmt.Sprintf("%s has key %s", c.Privacy.Keys, names.Mark())
	}
	return f
}

// tryDisk checks the place of the data directory, which need not exist yet.
func (c *Config) tryDisk() store.Finding {
	f := store.Finding{What: "room for the log"}
	dir, there := filepath.Clean(c.DataDir), true
	for {
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() {
			break
		}
		parent := filepath.Dir(dir)
		if there = false; err == nil || !errors.Is(err, fs.ErrNotExist) || parent == dir {
			if err == nil {
				err = errors.New("is no directory")
			}
			f.Found, f.Remedy = fmt.Sprintf("%s: %v", dir, err), "name another --data-dir"
			return f
		}
		dir = parent
	}
	if err := mayCreate(dir); err != nil {
		f.Found, f.Remedy = err.Error(), "let this user write there, or name another --data-dir"
		return f
	}
	used := int64(0)
	if there {
		used, _ = disk.Used(dir) // without files that cannot be read
	}
	half, err := disk.Half(dir, used)
	switch {
	case err != nil:
		f.Found, f.Remedy = err.Error(), "name a --data-dir on a disk that tells its free space"
	case half < c.QueueMax:
		f.Found = fmt.Sprintf("%v would be the log's limit, half of what is free under %s, --queue-max-bytes is %v", unit.Bytes(half), dir, unit.Bytes(c.QueueMax))
		f.Remedy = "free some, name a --data-dir on a larger disk, or lower --queue-max-bytes"
	default:
		f.Found = fmt.Sprintf("%v under %s, --queue-max-bytes is %v", unit.Bytes(2*half-used), dir, unit.Bytes(c.QueueMax))
	}
	return f
}

// mayCreate returns nil if files can be made in dir: it makes a file, and removes
// it.
func mayCreate(dir string) error {
	file, err := os.CreateTemp(dir, ".pingline-check-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// tryFiles compares the limit of open files with the files that the configured
// connections need.
func (c *Config) tryFiles(most uint64) store.Finding {
	f := store.Finding{What: "may be open"}
	need := uint64(c.MaxConnections) + spareFiles
	switch {
	case most == 0:
		f.Found = "how many is not known here"
	case most < need:
		f.Found = fmt.Sprintf("%d, --max-connections %d needs %d", most, c.MaxConnections, need)
		f.Remedy = fmt.Sprintf("ulimit -n %d, LimitNOFILE=%d of the unit, or lower --max-connections", need, need)
	default:
		f.Found = fmt.Sprintf("%d, --max-connections %d needs %d", most, c.MaxConnections, need)
	}
	return f
}
