// Package gather answers questions about all riders where nodes share them: it asks the owner of each part, and puts
// the answers together.
//
// A part that does not answer within the limit of Config.Ask is left out, or as it was, and the answer is partial. Nodes
// ask each other with questions of a numbered form, which are not those of clients: an owner tells of its own part alone,
// so that no question is asked twice, and tells all that it knows, so that limits are applied to the whole. Whether a
// client may ask, and how often, is decided before. The package knows no HTTP.
package gather

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"pingline/ingest"
	"pingline/rollup"
)

// Config sets up a Gatherer. Newest is required, and with several parts Ask.
type Config struct {
	Parts int // of the riders; up to 1: all riders are of this node
	Own   int // part of this node

	// Ask returns the answer of the owner of a part, in dst's memory if there is room. It is quick: see forward.AskTimeout.
	Ask    func(part int, question, dst []byte) ([]byte, error)
	Newest func(*ingest.NewestPings) error // of this node: see ingest.Writer.NewestPings
	Rollup *rollup.Rollup                  // of this node, with Apart if there are several parts; nil: no cells

	State     func() []byte // of this node, as other nodes are told it by their State; nil: they are told nothing
	MinRiders uint64        // cells of fewer riders of all parts are not told of
	Logger    *slog.Logger  // nil means slog.Default()
}

// Gatherer asks the other nodes, and tells them of this one. It is safe for concurrent use.
type Gatherer struct {
	cfg    Config
	start  uint64        // at random, so that nobody takes this node for the owner before
	erased atomic.Uint64 // riders who were removed
	scans  sync.Pool     // of *ingest.NewestPings
	silent []atomic.Bool // by part
}

// New returns a Gatherer.
func New(cfg Config) *Gatherer {
	cfg.Parts, cfg.Logger = max(1, cfg.Parts), cmp.Or(cfg.Logger, slog.Default())
	g := &Gatherer{cfg: cfg, start: rand.Uint64() >> 1, silent: make([]atomic.Bool, cfg.Parts)}
	g.scans.New = func() any { return new(ingest.NewestPings) }
	return g
}

// The questions, behind the form.
const (
	form = 1

	askNewest = 'n'
	askCells  = 'c'
	askState  = 's'
)

// Tell appends to dst the answer to a question of another node.
func (g *Gatherer) Tell(question, dst []byte) ([]byte, error) {
	d := reader{b: question}
	v, kind := d.u8(), d.u8()
	dst = append(dst, form)
	switch {
	case v != form:
		return nil, fmt.Errorf("a question of form %d, this node knows %d", v, form)
	case kind == askNewest:
		return g.tellNewest(&d, dst)
	case kind == askCells:
		return g.tellCells(&d, dst)
	case kind == askState && g.cfg.State != nil:
		return append(dst, g.cfg.State()...), nil
	}
	return nil, fmt.Errorf("a question of kind %d, which this node does not know", kind)
}

// State returns the owner of another part as it tells of itself. Errors wrap ingest.ErrUnavailable.
func (g *Gatherer) State(part int) ([]byte, error) {
	d, err := g.ask(part, []byte{form, askState}, nil)
	return d.b[min(d.at, len(d.b)):], err
}

// ask returns a reader of the answer of a part's owner.
func (g *Gatherer) ask(part int, question, dst []byte) (reader, error) {
	b, err := g.cfg.Ask(part, question, dst)
	if err != nil {
		return reader{}, err
	}
	d := reader{b: b, text: string(b)}
	if v := d.u8(); v != form {
		return reader{}, fmt.Errorf("part %d: an answer of form %d, this node knows %d: %w", part, v, form, ingest.ErrUnavailable)
	}
	return d, nil
}

// garbled is the error of an answer that cannot be read.
func garbled(part int) error {
	return fmt.Errorf("part %d: an answer that is no answer of a node: %w", part, ingest.ErrUnavailable)
}

// note logs that a part has come to be silent, or answers again.
func (g *Gatherer) note(part int, err error) {
	switch silent := err != nil; {
	case g.silent[part].Swap(silent) == silent:
	case silent:
		g.cfg.Logger.Warn("a part of the riders is missing in answers about all riders", "part", part, "error", err)
	default:
		g.cfg.Logger.Info("a part of the riders is in answers about all riders again", "part", part)
	}
}

// others calls f for each part of another node.
func (g *Gatherer) others(f func(part int)) {
	for part := range g.cfg.Parts {
		if part != g.cfg.Own {
			f(part)
		}
	}
}
