package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pingline/internal/command"
	"pingline/internal/dial"
	"pingline/internal/node"
	"pingline/internal/terminal"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sim/chaos"
)

// ChaosCmd sends the pings of a city while things go wrong, and holds the answers
// against what is stored.
type ChaosCmd struct {
	CityLoad    `embed:""`
	ResultFlags `embed:""`
	AuditFlags  `embed:""`

	For        time.Duration `default:"10m" help:"How long pings are due and failures come; the same time and seed give the same failures."`
	FaultsOf   chaos.List    `default:"all" placeholder:"LIST" help:"Failures to choose from: all, or a list of kill, freeze (the ingester), kill-store, freeze-store (a store), fill (the disk) and cut (the network between the two)."`
	Hook       string        `placeholder:"SCRIPT" help:"Program that is called with begin or end and the name of a failure; see docs/load-testing.md. Without it you are asked on the terminal."`
	FaultLimit time.Duration `default:"2m" help:"How long the hook, or you, may take to begin or end a failure."`
	Recovery   time.Duration `default:"2m" help:"How long after a failure the ingester may take until /readyz answers 200."`
}

// Validate is called by the parser.
func (c *ChaosCmd) Validate() error {
	switch {
	case c.For < 5*time.Second || c.For > mostTime:
		return fmt.Errorf("--for: %v is not in [5s, 366d]", c.For)
	case c.FaultLimit < time.Second || c.FaultLimit > time.Hour:
		return fmt.Errorf("--fault-limit: %v is not in [1s, 1h]", c.FaultLimit)
	case c.Recovery < time.Second || c.Recovery > time.Hour:
		return fmt.Errorf("--recovery: %v is not in [1s, 1h]", c.Recovery)
	}
	if err := c.CityLoad.check(c.For); err != nil {
		return err
	}
	return c.AuditFlags.check()
}

// Run sends until the schedule is through or the user stops it, audits, and prints the
// result. It fails if anything is not as it was answered, or did not recover.
func (c *ChaosCmd) Run(p *command.Program) (failure error) {
	if err := c.findHook(p); err != nil {
		return command.Unusable(err)
	}
	if _, err := c.TLS(); err != nil {
		return command.Unusable(err)
	}
	if err := c.ready(p); err != nil {
		return command.Unusable(fmt.Errorf("--target: %w", err))
	}
	stored, err := c.open()
	if err != nil {
		return err
	}
	defer func() { failure = errors.Join(failure, stored.Close()) }()
	page, err := create("--html", c.HTML)
	if err != nil {
		return err
	}
	if page != nil {
		defer func() { failure = errors.Join(failure, page.Close()) }()
	}
	output := c.ResultFlags
	if output.AckLog == "" {
		dir, err := os.MkdirTemp(c.TempDir, "pingline-chaos-")
		if err != nil {
			return command.Unusable(fmt.Errorf("--temp-dir: %w", err))
		}
		defer func() { failure = errors.Join(failure, os.RemoveAll(dir)) }()
		output.AckLog = filepath.Join(dir, "acks")
	}
	cfg, err := c.config(p, c.For)
	if err != nil {
		return err
	}
	d := &trial{
		Program: p, result: output, target: c.Target, network: c.Network, lasts: c.For, rate: cfg.Rate,
		title: "Chaos", command: c.command(), plain: c.Hook == "",
	}
	d.openOutput()
	r, err := c.drive(d, cfg)
	if err != nil {
		return err
	}
	c.audit(d, stored, r)
	r.judge()
	if c.JSON {
		err = printJSON(p.Stdout, r)
	} else {
		err = r.print(d.say)
	}
	if page != nil {
		err = errors.Join(err, d.writePage(page, r.lines(), r.notes()))
	}
	return errors.Join(err, r.Err())
}

// command returns the command line that does the same again.
func (c *ChaosCmd) command() string {
	text := "pingline chaos " + c.text(c.For) + " --faults-of=" + c.FaultsOf.String()
	if c.Hook != "" {
		text += " --hook=" + c.Hook
	}
	return text
}

// findHook refuses a hook that cannot be called, and no hook where nobody can be asked.
func (c *ChaosCmd) findHook(p *command.Program) error {
	if c.Hook == "" {
		if !terminal.Answers(p.Stdin) {
			return errors.New("--hook: there is no terminal to ask at, and no script is named")
		}
		return nil
	}
	path, err := filepath.Abs(c.Hook) // a script of the working directory needs no ./
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		return fmt.Errorf("--hook: %w", err)
	}
	c.Hook = path
	return nil
}

// drive brings the failures about while the load runs, and returns the results of both.
func (c *ChaosCmd) drive(d *trial, cfg sim.LoadConfig) (*chaosResult, error) {
	run := chaos.Config{
		Steps: chaos.Schedule(c.Seed, c.For, c.FaultsOf), Lasts: c.For, Injector: c.injector(d), Limit: c.FaultLimit,
		Ready: c.ready, Recovery: c.Recovery, Say: d.tell,
	}
	cfg.For = 0 // the load goes on until the last failure is over, stopped or not
	loading, stop := context.WithCancel(context.WithoutCancel(d))
	driving, halt := context.WithCancel(d)
	defer halt()
	r := &chaosResult{steps: len(run.Steps)}
	ended := make(chan error, 1)
	go func() {
		var err error
		r.results, err = run.Run(driving)
		stop()
		ended <- err
	}()
	told := context.AfterFunc(d, func() {
		d.tell("stopping: a failure is ended, then comes the audit; Ctrl-C again leaves all as it is")
	})
	defer told()
	s, failure := d.send(loading, cfg)
	halt()
	r.recovery = <-ended
	if s == nil {
		return nil, failure
	}
	r.Load, r.loaded = s, failure
	r.tellFaults(d.began, d.load.Moments())
	return r, nil
}

// injector is the hook, or the person at the terminal.
func (c *ChaosCmd) injector(d *trial) chaos.Injector {
	if c.Hook != "" {
		return chaos.Script{Path: c.Hook, Output: d.Stderr}
	}
	return questions{chaos.NewOperator(d, d.Stdin, d.Stderr), d}
}

// questions has a load show nothing while a person is asked.
type questions struct {
	chaos.Injector
	trial *trial
}

// Begin implements chaos.Injector.
func (q questions) Begin(ctx context.Context, f chaos.Failure) error {
	q.trial.quiet(true)
	defer q.trial.quiet(false)
	return q.Injector.Begin(ctx, f)
}

// End implements chaos.Injector.
func (q questions) End(ctx context.Context, f chaos.Failure) error {
	q.trial.quiet(true)
	defer q.trial.quiet(false)
	return q.Injector.End(ctx, f)
}

// ready returns nil if the target says that it takes pings. It keeps no connection: one to a
// process that was killed or frozen says nothing about the next.
func (c *ChaosCmd) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	u, err := url.Parse(c.Target)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("readyz").String(), nil)
	if err != nil {
		return err
	}
	for _, h := range c.Header {
		req.Header.Add(h.Name, h.Value)
	}
	transport, err := c.Transport()
	if err != nil {
		return err
	}
	transport.DisableKeepAlives = true
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		said := string(text)
		for _, h := range c.Header {
			said = dial.Hide(said, h.Value)
		}
		err = fmt.Errorf("GET %s: %s %s", req.URL.Path, resp.Status, said[:min(len(said), 300)])
	}
	return err
}

// audit holds the answers against the stores, even if the user has stopped the load.
func (c *ChaosCmd) audit(d *trial, stored *node.StoredRows, r *chaosResult) {
	p := *d.Program
	if p.Err() != nil {
		p.Context = context.WithoutCancel(p.Context)
	}
	transport, err := c.Transport()
	if err != nil {
		r.audited = fmt.Errorf("there is no audit: %w", err)
		return
	}
	a := auditing{
		Program: &p, flags: &c.AuditFlags, target: c.Target, client: http.Client{Transport: transport}, header: c.Header,
		files: audit.AckFiles{d.result.AckLog}, say: d.say, board: d.board,
	}
	if r.Audit, err = a.audit(stored, time.Now()); err != nil {
		r.audited = fmt.Errorf("there is no audit: %w", err)
	}
}
