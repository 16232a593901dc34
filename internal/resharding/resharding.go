package resharding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"pingline/partition"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// Changes answers operators. It is safe for concurrent use.
type Changes struct {
	cfg    Config
	movers []*moving.Mover // of the sets, in their order
	mu     sync.Mutex      // held while something is changed, of all parts; taken first

	steps  sync.Mutex // with several parts, held while something is changed in this one; taken after mu
	forget []func()   // of the shards that were opened for a step; guarded by mu, or steps
	holds  holds

	where sync.Map // place of each shard that was known once, by name

	seen    sync.Mutex            // guards the fields below, and is taken last
	reads   map[string][][]string // by set and part: shards that the part reads
	trouble map[string]string     // by set: a shard in trouble for another part
	hold    string                // why another part has no history be moved for now
	yields  int                   // how often hold was set by a removal

	ended chan struct{} // closed when Run has ended
}

// New returns the changes of a node. An error says which file of the data directory is wrong.
func New(cfg Config) (*Changes, error) {
	c := &Changes{cfg: cfg, ended: make(chan struct{})}
	for name, at := range cfg.Where {
		c.where.Store(name, at)
	}
	return c, c.open()
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
			c.answer(w, req, s.step, s.do)
		}})
	}
	return routes
}

// mostBody bounds a body, in bytes.
const mostBody = 64 << 10

func (c *Changes) answer(w http.ResponseWriter, req *http.Request, step string, do func(context.Context, *reshard.Eras, *ChangeRequest) (any, error)) {
	var r ChangeRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, mostBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		say(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
		return
	}
	if c.cfg.Across.on() {
		c.pass(w, step, &r)
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
	if err != nil {
		say(w, statusFor(err), err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(got) // a client that is gone does not matter
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
		c.where.Store(n.Name, n.Where)
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
	p.Shards = c.findings(ctx, e, d, fresh)
	if p.History, err = c.weigh(ctx, orMain(r.Set), d, fresh); err != nil {
		return nil, err
	}
	p.Notes = notes(d, fresh, c.cfg.Across.on())
	return p, nil
}

// findings are those of the shards that a change adds.
func (c *Changes) findings(ctx context.Context, e *reshard.Eras, d *reshard.Intent, fresh []sink.ShardStore) (list []Found) {
	all := slices.Concat(e.Shards(), fresh)
	for _, name := range d.New.Names() {
		if slices.Contains(d.Old.Names(), name) {
			continue
		}
		i := slices.IndexFunc(all, func(s sink.ShardStore) bool { return s.Name == name })
		list = append(list, Found{name, c.cfg.Try(ctx, all[i].Store)})
	}
	return list
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
