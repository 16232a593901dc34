// Package logtool is pingline log: it shows the entries that wait in the log of a node, copies its
// entries out as JSON, makes a backup, and a data directory from a backup.
//
// A running node is asked on its operations listener; a node that has stopped leaves its log
// to be opened, under its lock.
package logtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"pingline/internal/command"
	"pingline/internal/logview"
	"pingline/internal/operator"
	"pingline/queue"
	"pingline/queue/backup"
)

// LogCmds is the commands about the log of a node.
type LogCmds struct {
	Inspect InspectCmd `cmd:"" help:"Show what waits in the log, by set, shard, lane and age, and what is lost."`
	Tail    TailCmd    `cmd:"" help:"Print the newest entries, a JSON object a line."`
	Export  EntriesCmd `cmd:"" help:"Write entries, a JSON object a line."`
	Backup  BackupCmd  `cmd:"" help:"Back up log, filter and dead letters of a node, also while it runs."`
	Restore RestoreCmd `cmd:"" help:"Make a data directory from a backup."`
}

// LogPlace names a log: of a running node, or in the data directory of a node that has stopped.
type LogPlace struct {
	DataDir string `placeholder:"DIR" help:"Data directory of a node that does not run; its log is opened."`
	Server  string `default:"http://127.0.0.1:9090" placeholder:"URL" help:"Operations listener of a running node, which is asked without --data-dir."`

	operator.AdminKey `embed:""`
}

func (p *LogPlace) check() error {
	if p.DataDir != "" {
		return nil
	}
	if err := operator.CheckServer(p.Server); err != nil {
		return err
	}
	return p.Check(p.Server)
}

// get asks the node for a path with parameters.
func (p *LogPlace) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	resp, err := p.Ask(ctx, http.MethodGet, p.Server, parts, query, http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("the node is not asked (--data-dir is for one that does not run): %w", err)
	}
	return resp, nil
}

// open opens the log of the data directory, and calls do.
func (p *LogPlace) open(prog *command.Program, do func(*logview.Views) error) error {
	if err := command.OfParts(p.DataDir); err != nil {
		return err
	}
	dir := filepath.Join(p.DataDir, backup.LogDir)
	if err := p.find(dir); err != nil {
		return command.Unusable(fmt.Errorf("--data-dir: %w", err))
	}
	log, err := queue.Open(prog, queue.Config{Dir: dir, MaxBytes: 1 << 50, Reserve: -1, Logger: slog.New(slog.DiscardHandler)})
	if errors.Is(err, queue.ErrLocked) {
		return command.Unusable(fmt.Errorf("--data-dir: %s is in use by a running node: ask it, by --server=%s in place of --data-dir", p.DataDir, p.Server))
	}
	if err != nil {
		return command.Unusable(fmt.Errorf("--data-dir: %w", err))
	}
	name, _ := os.Hostname() // only for the head of a backup
	return errors.Join(do(&logview.Views{Log: log, Dir: p.DataDir, Node: name, Version: prog.Version}), log.Close())
}

// find returns an error unless there is a log of a node in dir. Opening would make one.
func (p *LogPlace) find(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no node has worked in %s", p.DataDir)
	} else if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the log of %s is not in it, but on servers: ask the running node, by --server", p.DataDir)
	}
	return checkOwner(p.DataDir, dir)
}

// copyBody copies an answer, and closes it.
func copyBody(to io.Writer, resp *http.Response) error {
	_, err := io.Copy(to, resp.Body)
	return errors.Join(err, resp.Body.Close())
}
