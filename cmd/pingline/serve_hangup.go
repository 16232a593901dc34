package main

import (
	"io"
	"log/slog"
	"reflect"

	"github.com/alecthomas/kong"
)

// onHangup calls read for each SIGHUP until stop is called, which waits for it.
func (p *program) onHangup(read func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-p.hangups:
				read()
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// readAgain reads the settings anew, as they are in the file now. It sets the level
// of the log, and logs the changed settings that need a restart. If any setting is
// wrong, nothing changes.
func (c *serveConfig) readAgain(p *program, logger *slog.Logger, level *slog.LevelVar) {
	now := new(cli)
	parser, err := newParser(now, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		logger.Error("settings cannot be read again", "error", err)
		return
	}
	again, err := parser.Parse(p.args)
	if err != nil {
		logger.Error("settings are wrong: the earlier settings stay in force", "error", err)
		return
	}
	to := now.Serve.LogLevel
	level.Set(min(level.Level(), to, slog.LevelInfo)) // so that the line below is logged
	logger.Info("settings are read again", "log_level", to, "needs_restart", changed(p.parsed, again))
	level.Set(to)
}

// changed names the flags but --log-level whose values differ.
func changed(before, now *kong.Context) (names []string) {
	was := make(map[string]any)
	for _, flag := range before.Flags() {
		was[flag.Name] = before.FlagValue(flag)
	}
	for _, flag := range now.Flags() {
		if flag.Name != "log-level" && !reflect.DeepEqual(was[flag.Name], now.FlagValue(flag)) {
			names = append(names, "--"+flag.Name)
		}
	}
	return names
}
