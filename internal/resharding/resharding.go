// Package resharding lets operators change the shards of a node that runs, on its operations
// listener.
//
// A change is decided and kept by sink/reshard; this package opens and checks stores that are
// new, and keeps an account of who changed what: a file in the data directory, and a point in
// the log.
package resharding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/internal/ops"
	"pingline/internal/plainjson"
	"pingline/partition"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/sets"
	"pingline/sink/store"
)

// NewShard is a shard that a node was not started with.
type NewShard struct {
	Name, Set string
	Weight    float64
	Store     store.Store
	Forget    func() // called if the shard is closed, and those after it before
}

// Config names the parts of a node that are needed. All but Logger are required.
type Config struct {
	Sinks   *sets.Sets
	Open    func(text string) (NewShard, error)                      // opens the store of a --shard
	Try     func(ctx context.Context, s store.Store) []store.Finding // looks whether it is as it should be
	Newest  func(*ingest.NewestPings) error                          // newest pings of all tracks: see ingest.Writer
	CellRes int                                                      // H3 resolution of the cell tag
	Submit  func(ctx context.Context, points []pingline.Entry) error // makes points durable
	Node    string
	Never   string // why shards cannot be changed; "" if they can
	Dir     string // data directory
	Logger  *slog.Logger
	History MoveConfig
}

// Changes answers operators. It is safe for concurrent use.
type Changes struct {
	cfg    Config
	movers []*moving.Mover // of the sets, in their order
	mu     sync.Mutex      // held while something is changed; guards forget

	forget []func() // of the shards that were opened for a step
}

// New returns the changes of a node. An error says which file of the data directory is wrong.
func New(cfg Config) (*Changes, error) {
	c := &Changes{cfg: cfg}
	return c, c.open()
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

// ChangeRequest is the body of a step. All steps but plan and start take Set, Force, Full and Clean only.
type ChangeRequest struct {
	Set     string   `json:"set,omitempty"`     // "" is the main set
	Add     []string `json:"add,omitempty"`     // NAME of a shard that is known, or name=…,url=… as in --shard
	Remove  []string `json:"remove,omitempty"`  // NAME
	Weight  []string `json:"weight,omitempty"`  // NAME=WEIGHT
	Replace []string `json:"replace,omitempty"` // OLD=NEW, NEW as in Add
	Force   bool     `json:"force,omitempty"`
	History string   `json:"history,omitempty"` // of plan and start: HistoryNone or HistoryMove; "" is none
	Rate    *float64 `json:"rate,omitempty"`    // of plan and start: most rows of history a second, 0: no bound; nil is DefaultRate
	Full    bool     `json:"full,omitempty"`    // of verify: checksums of all
	Clean   bool     `json:"clean,omitempty"`   // of abort: history that was copied is deleted from the new shards
}

// ChangePlan is the answer to plan and start.
type ChangePlan struct {
	reshard.Intent
	Moved, Of int // keys whose shard changes, of so many; of known cells if Cells
	Cells     bool
	History   *moving.Weight `json:",omitempty"` // nil: none is moved
	Shards    []Found        `json:",omitempty"` // new shards
	Notes     []string       `json:",omitempty"`
	From      uint64         `json:",omitempty"` // number of the first commit that is routed anew, once started
}

// Found is the state of a new shard.
type Found struct {
	Shard    string
	Findings []store.Finding
}

// Routes returns the routes for administrators.
func (c *Changes) Routes() []ops.AdminRoute {
	routes := []ops.AdminRoute{{Pattern: "GET " + StatusPath, Handler: c.status, About: "how far a change of the shards is"}}
	for _, s := range append([]changeStep{
		{"plan", "what a change of the shards would do", c.plan},
		{"start", "starts a change of the shards", c.start},
		{"cut", "puts the new layout in force", c.cut},
		{"finish", "ends a change: only the new layout is written", c.finish},
		{"abort", "puts the old layout in force again", c.abort},
	}, c.historySteps()...) {
		routes = append(routes, ops.AdminRoute{Pattern: "POST " + stepPath + s.step, About: s.about, Handler: func(w http.ResponseWriter, req *http.Request) {
			c.answer(w, req, s.do)
		}})
	}
	return routes
}

// mostBody bounds a body, in bytes.
const mostBody = 64 << 10

func (c *Changes) answer(w http.ResponseWriter, req *http.Request, do func(context.Context, *reshard.Eras, *ChangeRequest) (any, error)) {
	var r ChangeRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, mostBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		say(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
		return
	}
	if c.cfg.Never != "" {
		say(w, http.StatusConflict, errors.New(c.cfg.Never))
		return
	}
	eras := c.cfg.Sinks.Of(orMain(r.Set))
	if eras == nil {
		say(w, http.StatusConflict, fmt.Errorf("set: %q is none of the sets", r.Set))
		return
	}
	// It goes on if the operator is gone: a step is made or not made.
	c.mu.Lock()
	defer c.mu.Unlock()
	got, err := do(context.WithoutCancel(req.Context()), eras, &r)
	refused, wait := new(reshard.RefusedError), waitError{}
	switch {
	case errors.As(err, &wait):
		say(w, notYetStatus, err)
	case errors.As(err, &refused):
		say(w, http.StatusConflict, err)
	case err != nil:
		say(w, http.StatusServiceUnavailable, err)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(got) // a client that is gone does not matter
	}
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

func (c *Changes) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c.statuses()) // a client that is gone does not matter
}

// order reads the order of a request, and opens the stores of shards that are not known.
func (c *Changes) order(e *reshard.Eras, r *ChangeRequest) (o reshard.Order, fresh []sink.ShardStore, err error) {
	o = reshard.Order{Remove: r.Remove, Weight: map[string]float64{}, Replace: map[string]string{}}
	defer func() {
		if err != nil {
			c.closeAll(fresh)
			err = &reshard.RefusedError{Why: err.Error()}
		}
	}()
	if err := historyOf(r, &o); err != nil {
		return o, nil, err
	}
	known := e.Shards()
	c.forget = nil
	take := func(what, text string) (partition.Shard, error) {
		if !strings.Contains(text, "=") {
			text = "name=" + text
		}
		if i := slices.IndexFunc(known, func(s sink.ShardStore) bool { return s.Name == nameIn(text) }); i >= 0 {
			if strings.Contains(text, "url=") {
				return partition.Shard{}, fmt.Errorf("%s: shard %s is known: leave its url out", what, known[i].Name)
			}
			w, err := weightIn(text)
			if err != nil {
				return partition.Shard{}, fmt.Errorf("%s: %w", what, err)
			}
			return partition.Shard{Name: known[i].Name, Weight: w}, nil
		}
		if !strings.Contains(text, "url=") {
			return partition.Shard{}, fmt.Errorf("%s: shard %s is not known: give name=%s,url=…, as in --shard; a space in a value is written %%20", what, nameIn(text), nameIn(text))
		}
		n, err := c.cfg.Open(text)
		if err != nil {
			return partition.Shard{}, fmt.Errorf("%s: %w", what, err)
		}
		fresh, c.forget = append(fresh, sink.ShardStore{Name: n.Name, Store: n.Store}), append(c.forget, n.Forget)
		if orMain(n.Set) != orMain(r.Set) {
			return partition.Shard{}, fmt.Errorf("%s: shard %s is of the set %s, and the set %s is changed", what, n.Name, orMain(n.Set), orMain(r.Set))
		}
		for _, st := range c.cfg.Sinks.Stats() {
			if st.Shard == n.Name {
				return partition.Shard{}, fmt.Errorf("%s: there is a shard named %s", what, n.Name)
			}
		}
		return partition.Shard{Name: n.Name, Weight: n.Weight}, nil
	}
	for _, text := range r.Add {
		sh, err := take("add", text)
		if err != nil {
			return o, fresh, err
		}
		o.Add = append(o.Add, sh)
	}
	for _, text := range r.Replace {
		old, by, ok := strings.Cut(text, "=")
		if !ok || by == "" {
			return o, fresh, fmt.Errorf("replace: %q is not of the form OLD=NEW", old)
		}
		if _, twice := o.Replace[old]; twice {
			return o, fresh, fmt.Errorf("replace: %s is named twice", old)
		}
		sh, err := take("replace", by)
		if err != nil {
			return o, fresh, err
		}
		if keyIn(by, "weight") != "" {
			return o, fresh, fmt.Errorf("replace: %s gets the weight of %s: leave its weight out, or give --weight %s=%s", sh.Name, old, old, keyIn(by, "weight"))
		}
		o.Replace[old] = sh.Name
	}
	for _, text := range r.Weight {
		name, value, _ := strings.Cut(text, "=")
		w, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return o, fresh, fmt.Errorf("weight: %q is not of the form NAME=WEIGHT", text)
		}
		if _, twice := o.Weight[name]; twice {
			return o, fresh, fmt.Errorf("weight: %s is named twice", name)
		}
		o.Weight[name] = w
	}
	return o, fresh, nil
}

// nameIn returns the name in the text of a shard.
func nameIn(text string) string { return keyIn(text, "name") }

// weightIn returns the weight in the text of a shard, 1 if there is none.
func weightIn(text string) (float64, error) {
	value := keyIn(text, "weight")
	if value == "" {
		return 1, nil
	}
	w, err := strconv.ParseFloat(value, 64)
	if err != nil || !(w >= partition.MinWeight && w <= partition.MaxWeight) {
		return 0, fmt.Errorf("weight: %q is no number in [%v, %v]", value, partition.MinWeight, partition.MaxWeight)
	}
	return w, nil
}

func keyIn(text, key string) string {
	for part := range strings.SplitSeq(text, ",") {
		if k, v, _ := strings.Cut(part, "="); k == key {
			return v
		}
	}
	return ""
}

// closeAll closes the shards that were opened for a step.
func (c *Changes) closeAll(list []sink.ShardStore) {
	for _, sh := range list {
		_ = sh.Store.Close() // nothing was written
	}
	for _, forget := range slices.Backward(c.forget) {
		forget()
	}
	c.forget = nil
}

func (c *Changes) plan(ctx context.Context, e *reshard.Eras, r *ChangeRequest) (any, error) {
	o, fresh, err := c.order(e, r)
	if err != nil {
		return nil, err
	}
	defer c.closeAll(fresh)
	return c.look(ctx, e, r, &o, fresh)
}

// look makes the plan of an order.
func (c *Changes) look(ctx context.Context, e *reshard.Eras, r *ChangeRequest, o *reshard.Order, fresh []sink.ShardStore) (*ChangePlan, error) {
	d, err := e.Plan(*o)
	if err == nil {
		err = e.Fits(d, fresh)
	}
	if err != nil {
		return nil, err
	}
	cells := c.cells()
	p := &ChangePlan{Intent: *d, Cells: len(cells) > 0}
	if p.Moved, p.Of, err = reshard.Moved(d.Old, d.New, cells); err != nil {
		return nil, err
	}
	all := slices.Concat(e.Shards(), fresh)
	for _, name := range d.New.Names() {
		if slices.Contains(d.Old.Names(), name) {
			continue
		}
		i := slices.IndexFunc(all, func(s sink.ShardStore) bool { return s.Name == name })
		p.Shards = append(p.Shards, Found{name, c.cfg.Try(ctx, all[i].Store)})
	}
	if p.History, err = c.weigh(ctx, orMain(r.Set), d, fresh); err != nil {
		return nil, err
	}
	p.Notes = notes(d, fresh)
	return p, nil
}

// cells returns the cells in which riders are.
func (c *Changes) cells() (list []uint64) {
	cells, err := partition.NewCells(c.cfg.CellRes)
	if err != nil {
		return nil
	}
	seen := make(map[uint64]bool)
	for part := (ingest.NewestPings{}); c.cfg.Newest(&part) == nil; {
		for i := range part.List {
			if cell := cells.Exact(&part.List[i].Fix); !seen[cell] {
				seen[cell] = true
				list = append(list, cell)
			}
		}
		if part.Track == 0 {
			break
		}
	}
	return list
}

// notes are sentences on what a change does not do.
func notes(d *reshard.Intent, fresh []sink.ShardStore) (list []string) {
	for _, name := range d.Old.Names() {
		switch gone := !slices.Contains(d.New.Names(), name); {
		case d.Move != nil && gone:
			list = append(list, fmt.Sprintf("the history of %s is moved, and stays there as well: after finish, pingline reshard delete removes it there", name))
		case gone:
			list = append(list, fmt.Sprintf("the history of %s stays there, and is read from there as long as a --shard names %s: --history=move copies it; or copy it later with pingline copy, then take its --shard away and name it in --moved-shard", name, name))
		}
	}
	if d.Move == nil && !d.Mirrored {
		list = append(list, "no history is copied: readers ask all shards")
	}
	for _, sh := range fresh {
		list = append(list, fmt.Sprintf("add --shard=name=%s,url=… to the settings of the node: without it the next start is refused", sh.Name))
	}
	return list
}

func (c *Changes) start(ctx context.Context, e *reshard.Eras, r *ChangeRequest) (any, error) {
	o, fresh, err := c.order(e, r)
	if err != nil {
		return nil, err
	}
	p, err := c.look(ctx, e, r, &o, fresh)
	if err == nil && !r.Force {
		err = unfit(p.Shards)
	}
	if err == nil {
		err = c.ready(r, "another change")
	}
	if err == nil {
		_, p.From, err = e.Start(o, fresh)
	}
	if err != nil {
		c.closeAll(fresh)
		return nil, err
	}
	c.record(ctx, e, "start", p.From)
	return p, nil
}

// unfit returns an error if a new shard cannot be written to or read from.
func unfit(list []Found) error {
	for _, f := range list {
		for _, one := range f.Findings {
			if one.Remedy != "" && one.What != "retention" {
				return &reshard.RefusedError{Why: fmt.Sprintf("shard %s: %s: %s: %s (or --force)", f.Shard, one.What, one.Found, one.Remedy)}
			}
		}
	}
	return nil
}

func (c *Changes) cut(ctx context.Context, e *reshard.Eras, r *ChangeRequest) (any, error) {
	if err := c.ready(r, "cut"); err != nil {
		return nil, err
	}
	at, err := e.Cut(r.Force)
	if st := e.Status(); err != nil && st.Phase == reshard.Dual && st.MirrorLetters == 0 && (len(st.LetGo) == 0 || e.Record().Move != nil) {
		err = waitError{err} // the mirror comes near, and history fills what it gave up
	}
	return c.done(ctx, e, "cut", at, err)
}

func (c *Changes) finish(ctx context.Context, e *reshard.Eras, _ *ChangeRequest) (any, error) {
	return c.done(ctx, e, "finish", 0, e.Finish())
}

func (c *Changes) abort(ctx context.Context, e *reshard.Eras, r *ChangeRequest) (any, error) {
	m, err := c.mover(orMain(r.Set)), error(nil)
	if r.Clean {
		if again, err := m.Again(); again {
			return c.done(ctx, e, "abort", 0, err)
		}
		err = m.Cleanable()
	}
	if err == nil {
		err = e.Abort(r.Clean)
		m.Look()
	}
	return c.done(ctx, e, "abort", 0, err)
}

func (c *Changes) done(ctx context.Context, e *reshard.Eras, step string, at uint64, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	c.record(ctx, e, step, at)
	return c.statusOf(e), nil
}

// made is a line of LogFile.
type made struct {
	At   time.Time `json:"at"`
	Step string    `json:"step"`
	From uint64    `json:"from,omitempty"`
	reshard.SetStatus
}

// record tells of a step, which has been made: failing here changes nothing.
func (c *Changes) record(ctx context.Context, e *reshard.Eras, step string, from uint64) {
	st := e.Status()
	c.cfg.Logger.Info("the shards of a set are changed", "step", step, "id", st.ID, "change", st.Do, "set", st.Set, "phase", string(st.Phase), "in_force", st.InForce.String(), "from", from)
	if err := c.append(&made{time.Now().UTC(), step, from, st}); err != nil {
		c.cfg.Logger.Warn("a change of the shards is not in its file", "error", err)
	}
	err := c.cfg.Submit(ctx, []pingline.Entry{{Kind: pingline.Self, Point: &pingline.Point{
		Name: Measurement, At: time.Now().UnixMilli(),
		Tags:   []pingline.Tag{{Key: "node", Value: c.cfg.Node}, {Key: "set", Value: st.Set}},
		Fields: []pingline.PointField{pingline.Text("id", st.ID), pingline.Text("step", step), pingline.Text("change", st.Do), pingline.Text("phase", string(st.Phase)), pingline.Text("in_force", st.InForce.String()), pingline.Int("from", int64(from))},
	}}})
	if err != nil {
		c.cfg.Logger.Warn("a change of the shards is not in the log as a point", "error", err)
	}
}

func (c *Changes) append(m *made) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(c.cfg.Dir, LogFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}
