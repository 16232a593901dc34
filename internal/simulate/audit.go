package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"pingline/ingest/privacy"
	"pingline/internal/command"
	"pingline/internal/dial"
	"pingline/internal/node"
	"pingline/internal/pause"
	"pingline/internal/terminal"
	"pingline/sim/audit"
)

// AuditFlags say where points are, and how they are held against answers.
type AuditFlags struct {
	command.StoreFlags `embed:""`

	Settle time.Duration `default:"90s" help:"How long after the last answer the stores may take to have all; --idle-flush of serve is a part of it. 0: the ingester has stopped and stored all."`

	Rollups        string        `default:"check" enum:"check,skip" help:"check or skip: whether totals of the roll-up equal the sum of their pings."`
	RollupRes      int           `default:"8" help:"Finest resolution of the ingester's --rollup."`
	RollupLateness time.Duration `default:"2m" help:"--rollup-lateness of the ingester."`

	names      *privacy.Pseudonyms // of Pseudonyms, once open has read it
	Pseudonyms string              `placeholder:"FILE" help:"--pseudonyms of the ingester, which stores riders by other names."`

	TempDir string `placeholder:"DIR" help:"Where to put files of some 60 bytes a ping meanwhile (default: that of the system)."`
}

func (f *AuditFlags) check() error {
	switch {
	case f.Settle < 0 || f.Settle > 24*time.Hour:
		return fmt.Errorf("--settle: %v is not in [0s, 24h]", f.Settle)
	case f.RollupRes < 0 || f.RollupRes > 15:
		return fmt.Errorf("--rollup-res: %d is not in [0, 15]", f.RollupRes)
	case f.RollupLateness < time.Second || f.RollupLateness > time.Hour:
		return fmt.Errorf("--rollup-lateness: %v is not in [1s, 1h]", f.RollupLateness)
	}
	return nil
}

// open opens the stores for reading, and reads the key of pseudonyms.
func (f *AuditFlags) open() (*node.StoredRows, error) {
	if f.Pseudonyms != "" {
		var err error
		if f.names, _, err = privacy.ReadPseudonyms(f.Pseudonyms); err != nil {
			return nil, command.Unusable(fmt.Errorf("--pseudonyms: %w", err))
		}
	}
	cfg := node.DefaultConfig()
	f.Set(&cfg)
	if err := cfg.Check(); err != nil {
		return nil, command.Unusable(err)
	}
	cfg.Influx.Timeout = max(cfg.Influx.Timeout, time.Minute) // a long query falls silent at times
	stored, err := node.OpenStored(&cfg)
	if err != nil {
		return nil, command.Unusable(err)
	}
	return stored, nil
}

// AuditCmd holds what an ingester answered against what its stores hold.
type AuditCmd struct {
	AckLog []string `required:"" sep:"none" placeholder:"FILE" help:"Ack log of a run. Repeated: those of several generators are one."`
	More   []string `arg:"" optional:"" name:"file" help:"More ack logs."`

	AuditFlags `embed:""`

	Target string `placeholder:"URL" help:"URL of the ingester: begin as soon as it says that it has stored all."`
	JSON   bool   `name:"json" help:"Print nothing but the result, as one JSON object."`

	dial.Flags `embed:""`
}

// Validate is called by the parser.
func (c *AuditCmd) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Target != "" {
		if err := command.CheckTarget(c.Target); err != nil {
			return err
		}
	}
	return c.Check(c.Target)
}

// auditResult is the one object that is printed.
type auditResult struct {
	audit.Report
	Notes []string `json:"notes,omitempty"`
}

// auditing is one audit on its way.
type auditing struct {
	*command.Program
	flags  *AuditFlags
	target string // URL of the ingester; "": it is not asked
	client http.Client
	header []command.RequestHeader // sent with each question
	files  audit.AckFiles
	say    io.Writer
	board  *terminal.Board
	began  time.Time
	shown  time.Time
}

// Run audits and prints the result. It fails if anything is not as it was answered.
func (c *AuditCmd) Run(p *command.Program) (err error) {
	transport, err := c.Transport()
	if err != nil {
		return command.Unusable(err)
	}
	a := &auditing{client: http.Client{Transport: transport}, Program: p, flags: &c.AuditFlags, target: c.Target, files: append(slices.Clone(c.AckLog), c.More...), say: p.Stdout}
	if c.JSON {
		a.say = io.Discard
	} else if a.board = terminal.NewBoard(p.Stdout); a.board != nil {
		a.say = a.board
	}
	last, err := a.lastAnswer()
	if err != nil {
		return command.Unusable(err)
	}
	stored, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	r, err := a.audit(stored, last)
	if err != nil {
		return err
	}
	if err := r.print(p.Stdout, c.JSON); err != nil {
		return err
	}
	return r.Err()
}

// audit waits until the stores have all, the last answer having come at last, and holds
// the answers against them.
func (a *auditing) audit(stored *node.StoredRows, last time.Time) (*auditResult, error) {
	notes, err := a.settle(last)
	if err != nil {
		return nil, err
	}
	found, err := a.check(stored)
	if err != nil {
		return nil, err
	}
	return &auditResult{Report: found, Notes: append(notes, found.Remarks()...)}, nil
}

// lastAnswer returns when the logs were written last.
func (a *auditing) lastAnswer() (last time.Time, err error) {
	for _, path := range a.files {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return last, fmt.Errorf("--ack-log: %w", err)
		case !info.Mode().IsRegular():
			return last, fmt.Errorf("--ack-log: %s is no file", path)
		case info.ModTime().After(last):
			last = info.ModTime()
		}
		if _, err := audit.PeekAckFile(path); err != nil {
			return last, fmt.Errorf("--ack-log: %w", err)
		}
	}
	return last, nil
}

// settle waits until the stores have all, as far as can be told, and says if they have
// not.
func (a *auditing) settle(last time.Time) (notes []string, err error) {
	if a.target != "" {
		return a.settleBy(last)
	}
	wait := time.Until(last.Add(a.flags.Settle))
	if wait <= 0 || a.flags.Settle == 0 {
		return nil, nil
	}
	fmt.Fprintf(a.say, "waiting %v for what is held or queued …\n", wait.Round(time.Second))
	return nil, pause.For(a, wait)
}

func (a *auditing) check(stored *node.StoredRows) (audit.Report, error) {
	cfg := audit.Config{Dir: a.flags.TempDir, Finest: a.flags.RollupRes, Lateness: a.flags.RollupLateness, Progress: a.show}
	if a.flags.names != nil {
		cfg.StoredAs = a.flags.names.Of
	}
	if a.flags.Rollups == "check" {
		cfg.Totals = stored.PointsNamed
	}
	a.began = time.Now()
	return cfg.Check(a, a.files, stored.Points)
}

// show says how far an audit has come that takes more than two seconds.
func (a *auditing) show(r audit.Reached) {
	now := time.Now()
	if every := time.Second; now.Sub(a.began) < 2*time.Second || now.Sub(a.shown) < every {
		return
	}
	a.shown = now
	if a.board == nil {
		switch {
		case r.Parts > 0:
			fmt.Fprintf(a.say, "compared %d of 64 parts\n", r.Parts)
		case r.Points > 0:
			fmt.Fprintf(a.say, "read %s points\n", comma(r.Points))
		default:
			fmt.Fprintf(a.say, "read %s pings\n", comma(r.Pings))
		}
		return
	}
	cells := []terminal.Cell{
		{Name: "pings", Share: -1, Text: comma(r.Pings) + " read from ack logs"},
		{Name: "points", Share: -1, Text: comma(r.Points) + " read from the stores"},
		{Name: "compared", Share: float64(r.Parts) / 64, Color: terminal.Green, Text: fmt.Sprintf("%d of 64 parts", r.Parts)},
	}
	_ = a.board.Draw(cells) // a terminal that is gone does not stop the audit
}

// print writes the result as sentences, or as one JSON object.
func (r *auditResult) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	var text strings.Builder
	for _, line := range r.Examples {
		text.WriteString(fold(line) + "\n")
	}
	for _, line := range append([]string{r.Sentence()}, r.Notes...) {
		text.WriteString(fold(line) + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// fold breaks a sentence between words, so that no line is wider than a terminal.
func fold(s string) string {
	var text strings.Builder
	column := 0
	for i, word := range strings.Fields(s) {
		switch {
		case i > 0 && column+1+len(word) > terminal.MaxWidth:
			text.WriteString("\n  ")
			column = 2
		case i > 0:
			text.WriteByte(' ')
			column++
		}
		text.WriteString(word)
		column += len(word)
	}
	return text.String()
}

var _ context.Context = (*auditing)(nil)
