package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"pingline/internal/command"
	"pingline/internal/terminal"
	"pingline/internal/unit"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sim/network"
	"pingline/sim/report"
)

// trial is one load on its way: it shows how it goes and tells how it went.
type trial struct {
	*command.Program
	result  ResultFlags
	title   string // of the page
	command string // that was given
	target  string
	network network.Config
	lasts   time.Duration // 0: until it is stopped
	rate    float64       // pings/s that are full on the board
	plain   bool          // lines, even on a terminal

	load  *sim.Load
	began time.Time
	shown int // moments that were shown

	mu    sync.Mutex      // guards what is printed: the load's seconds, and lines of others
	say   io.Writer       // lines that stay
	board *terminal.Board // nil: there is no terminal
	hush  bool            // a question waits for its answer: no seconds are shown
}

// run sends as cfg says until it is done or the program's context ends, and prints
// the result. It fails if a ping has no answer, or a wrong one.
func (d *trial) run(cfg sim.LoadConfig) (failure error) {
	page, err := create("--html", d.result.HTML)
	if err != nil {
		return err
	}
	if page != nil {
		defer func() { failure = errors.Join(failure, page.Close()) }()
	}
	d.openOutput()
	s, watched := d.send(d, cfg)
	if s == nil {
		return watched
	}
	if d.result.JSON {
		err = printJSON(d.Stdout, s)
	} else {
		err = s.print(d.say)
	}
	if page != nil {
		err = errors.Join(err, d.writePage(page, s.lines(), nil))
	}
	return errors.Join(watched, err, s.Err())
}

// openOutput decides how progress is shown.
func (d *trial) openOutput() {
	d.say = d.Stdout
	if d.result.JSON {
		d.say = io.Discard
	} else if d.plain {
		return
	} else if d.board = terminal.NewBoard(d.Stdout); d.board != nil {
		d.say = d.board
	}
}

// send sends as cfg says until it is done or ctx ends, and returns its result:
// nil if it did not begin.
func (d *trial) send(ctx context.Context, cfg sim.LoadConfig) (s *summary, failure error) {
	if d.result.AckLog != "" {
		log, err := audit.CreateAckLog(d.result.AckLog, audit.AckNotes{Began: time.Now(), Target: d.target, Command: d.command, Version: d.Version})
		if err != nil {
			return nil, command.Unusable(fmt.Errorf("--ack-log: %w", err))
		}
		defer func() { failure = errors.Join(failure, log.Close()) }()
		cfg.Ledger = audit.Tee(cfg.Ledger, log)
	}
	if d.network.Set() {
		bad, err := network.Open(d.network, cfg.URL)
		if err != nil {
			return nil, command.Unusable(fmt.Errorf("--network: %w", err))
		}
		defer func() { failure = errors.Join(failure, bad.Close()) }()
		cfg.Transport = bad.Transport(cfg.Connections, cfg.TLS)
	}
	var err error
	if d.load, err = sim.NewLoad(cfg); err != nil {
		return nil, command.Unusable(err)
	}
	err = d.watch(ctx)
	s = summarize(d.load, d.target, cfg.Seed, time.Since(d.began))
	s.lost = reason(d.load.Lost())
	s.Interrupted = d.Err() != nil
	return s, err
}

// watch runs the load until it is done or ctx ends, and shows each second.
func (d *trial) watch(ctx context.Context) error {
	done := make(chan error, 1)
	d.began = time.Now()
	go func() { done <- d.load.Run(ctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stopped := ctx.Done()
	for {
		select {
		case <-tick.C:
			d.show()
		case <-stopped:
			stopped = nil
			d.tell("stopping; waiting for answers …")
		case err := <-done:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}

// tell prints a line that stays.
func (d *trial) tell(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintln(d.say, line)
}

// quiet says whether seconds are shown.
func (d *trial) quiet(hush bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hush = hush
}

// show draws the second that is over in place on a terminal, and prints a line
// elsewhere: of each second, on a machine that comes late to it as well.
func (d *trial) show() {
	d.mu.Lock()
	defer d.mu.Unlock()
	moments := d.load.Moments()
	first, end := d.shown, min(len(moments)-1, int(time.Since(d.began)/time.Second))
	if end <= first {
		return
	}
	d.shown = end
	switch {
	case d.hush:
	case d.board == nil:
		for n := first; n < end; n++ {
			d.line(n, &moments[n])
		}
	default:
		d.draw(&moments[end-1])
	}
}

// line prints a second.
func (d *trial) line(n int, m *sim.Moment) {
	line := fmt.Sprintf("%ds: sent %s, answered %s", n+1, comma(m.Sent), comma(sum(m)))
	if m.Latency.Max > 0 {
		line += fmt.Sprintf(", p50 %s, p99 %s", short(m.Latency.P50), short(m.Latency.P99))
	}
	if m.Refused > 0 {
		line += fmt.Sprintf(", %s refused", comma(m.Refused))
	}
	if m.Unanswered > 0 {
		line += fmt.Sprintf(", %s without an answer", comma(m.Unanswered))
		if lost := reason(d.load.Lost()); lost != nil { // else the phones themselves cut them off
			line += fmt.Sprintf(" (%v)", lost)
		}
	}
	if m.Shed > 0 {
		line += fmt.Sprintf(", shedding at level %d", m.Shed)
	}
	fmt.Fprintln(d.say, line)
}

// draw draws a second on the board.
func (d *trial) draw(m *sim.Moment) {
	c := d.load.Counters()
	answered := c.Answered()
	elapsed := time.Since(d.began).Round(time.Second)
	cells := []terminal.Cell{
		{Name: "sent", Share: float64(m.Sent) / d.rate, Color: terminal.Green, Text: comma(m.Sent) + " pings/s"},
		{Name: "answered", Share: float64(sum(m)) / d.rate, Color: terminal.Blue, Text: fmt.Sprintf("%s pings/s, %s in all", comma(sum(m)), comma(answered))},
		{Name: "p99", Share: m.Latency.P99.Seconds(), Color: terminal.Yellow, Text: fmt.Sprintf("%s; p50 %s", short(m.Latency.P99), short(m.Latency.P50))},
		{Name: "refused", Share: float64(m.Refused+m.Unanswered) / float64(max(m.Requests, 1)), Color: terminal.Red, Text: shedding(m)},
	}
	if d.lasts > 0 {
		cells = append(cells, terminal.Cell{Name: "time", Share: elapsed.Seconds() / d.lasts.Seconds(), Text: fmt.Sprintf("%v of %v", min(elapsed, d.lasts), d.lasts)})
	} else {
		cells = append(cells, terminal.Cell{Name: "time", Share: -1, Text: fmt.Sprintf("%v; Ctrl-C stops it", elapsed)})
	}
	_ = d.board.Draw(cells) // a terminal that is gone does not stop the load
}

// reason returns an error without the request that it is about.
func reason(err error) error {
	if request := new(url.Error); errors.As(err, &request) {
		return request.Err
	}
	return err
}

func shedding(m *sim.Moment) string {
	text := fmt.Sprintf("%d of %d requests", m.Refused+m.Unanswered, m.Requests)
	if m.Shed >= 0 {
		text += fmt.Sprintf("; shedding at level %d", m.Shed)
	}
	return text
}

func sum(m *sim.Moment) (n uint64) {
	for _, v := range m.Verdicts {
		n += v
	}
	return n
}

func comma(n uint64) string { return unit.Comma(float64(n)) }

// short writes a time with three digits.
func short(t time.Duration) string {
	digits := time.Duration(1)
	for limit := time.Duration(1000); limit <= t; limit *= 10 {
		digits *= 10
	}
	return t.Round(digits).String()
}

// writePage writes the run as a page with plots.
func (d *trial) writePage(w io.Writer, summary []report.Line, notes []string) error {
	r := report.Run{Title: d.title, Command: d.command, Target: d.target, Began: d.began, Summary: summary, Notes: notes}
	for _, m := range d.load.Moments() {
		r.Seconds = append(r.Seconds, report.Second{
			At: m.At, Due: m.Due, Sent: m.Sent, Verdicts: m.Verdicts,
			Requests: m.Requests, Refused: m.Refused, Unanswered: m.Unanswered,
			P50: m.Latency.P50, P99: m.Latency.P99, P999: m.Latency.P999, Max: m.Latency.Max, Shed: m.Shed,
		})
	}
	return r.WriteHTML(w)
}
