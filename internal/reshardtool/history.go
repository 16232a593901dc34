package reshardtool

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"pingline/internal/command"
	"pingline/internal/pause"
	"pingline/internal/resharding"
	"pingline/internal/unit"
	"pingline/sink/moving"
)

// showWeight prints how much history a plan moves.
func showWeight(w io.Writer, h *moving.Weight) {
	fmt.Fprintf(w, "  history: %s of %d move, %s", unit.Plural(h.Units, "piece", "pieces"), h.Of, unit.Plural(h.Rows, "row", "rows"))
	if h.Bytes > 0 {
		fmt.Fprintf(w, ", about %s as they are written", unit.Size(float64(h.Bytes)))
	}
	if h.Rate > 0 {
		fmt.Fprintf(w, ", %s at %.0f rows/s", brief(h.Took()), h.Rate)
	}
	fmt.Fprintf(w, "\n  %s need not move\n", unit.Plural(h.Stay, "row", "rows"))
	if len(h.Uncounted) > 0 {
		fmt.Fprintf(w, "  not counted, since the store does not tell: %s\n", strings.Join(h.Uncounted, ", "))
	}
	if h.CannotPoint {
		fmt.Fprintln(w, "  pings alone move: a store cannot be asked for points that are no pings")
	}
}

// brief is a duration for people.
func brief(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// barWidth is that of the progress bar, characters.
const barWidth = 20

// historyLine describes how far history is, in a line.
func historyLine(h *moving.MoveStatus) string {
	text := "  history: " + string(h.Stage)
	if h.Works() {
		full := int(h.Share() * barWidth)
		text += fmt.Sprintf(" [%s%s] %.0f %% · %d of %s · %d of %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*h.Share(),
			h.UnitsDone, unit.Plural(h.Units, "piece", "pieces"), h.RowsDone, unit.Plural(h.Rows, "row", "rows"))
	}
	if h.Rate > 0 {
		text += fmt.Sprintf(" · %.0f rows/s", h.Rate)
	}
	if h.Left > 0 {
		text += fmt.Sprintf(" · %s left", brief(time.Duration(h.Left*float64(time.Second))))
	}
	if h.Stage != moving.Copying && !h.Stage.Undone() {
		text += fmt.Sprintf(" · differs in %s", unit.Plural(h.Differ, "place", "places"))
	}
	if h.Refused > 0 {
		text += fmt.Sprintf(" · %s beyond the retention", unit.Plural(h.Refused, "row", "rows"))
	}
	if h.Kept > 0 {
		text += fmt.Sprintf(" · %s not deleted: %s", unit.Plural(h.Kept, "piece", "pieces"), h.KeptWhy[0])
	}
	if h.Stands != "" {
		text += fmt.Sprintf(" · stands for %s: %s", brief(time.Duration(h.StandsFor*float64(time.Second))), h.Stands)
	}
	if h.Slowed != "" {
		text += " · slowed to " + h.Slowed
	}
	return text
}

// showStatus prints how far a change is.
func showStatus(w io.Writer, s *resharding.ChangeStatus) {
	fmt.Fprintln(w, Line(&s.SetStatus))
	if s.History != nil {
		fmt.Fprintln(w, historyLine(s.History))
	}
	for i := range s.Parts {
		fmt.Fprintln(w, partLine(&s.Parts[i], s.Mirror))
	}
}

// partLine describes how far a part of the riders is, in a line.
func partLine(p *resharding.PartChange, mirror bool) string {
	text := fmt.Sprintf("  part %d · ", p.Part)
	if p.Node == "" {
		text += "no node"
	} else {
		text += "node " + p.Node
	}
	if p.Phase != "" {
		text += " · " + strings.TrimPrefix(p.ID+" ", " ") + string(p.Phase)
	}
	if p.Remaining > 0 {
		text += fmt.Sprintf(" · %s of before wait", unit.Plural(p.Remaining, "row", "rows"))
	}
	if mirror && p.Phase != "" {
		text += fmt.Sprintf(" · mirror %.1f s behind (%s)", p.MirrorSeconds, unit.Plural(p.MirrorQueued, "row", "rows"))
	}
	if p.Behind != "" {
		text += " · holds it back: " + p.Behind
	}
	return text
}

// PauseCmd has the moving of history stand.
type PauseCmd struct {
	stepCmd `embed:""`
}

// Run pauses.
func (c *PauseCmd) Run(p *command.Program) error {
	return c.send(p, "pause", resharding.ChangeRequest{})
}

// ResumeCmd ends a pause.
type ResumeCmd struct {
	stepCmd `embed:""`
}

// Run resumes.
func (c *ResumeCmd) Run(p *command.Program) error {
	return c.send(p, "resume", resharding.ChangeRequest{})
}

// VerifyCmd compares.
type VerifyCmd struct {
	Full    bool `help:"Checksums of all rows, not of a sample."`
	stepCmd `embed:""`
}

// Run starts a comparison, and waits for its result.
func (c *VerifyCmd) Run(p *command.Program) error {
	ask := *c
	ask.JSON = false
	begun := &command.Program{Context: p.Context, Stdout: io.Discard, Stderr: p.Stderr}
	if err := ask.send(begun, "verify", resharding.ChangeRequest{Full: c.Full}); err != nil {
		return err
	}
	for {
		var list []resharding.ChangeStatus
		if err := ask.get(p, http.MethodGet, []string{"v1", "reshard"}, nil, &list); err != nil {
			return err
		}
		for i := range list {
			h := list[i].History
			switch {
			case list[i].Set != c.Set, h != nil && h.Stage == moving.Comparing && !h.Paused:
				continue
			case h == nil:
				return errors.New("the change was undone meanwhile")
			}
			if c.JSON {
				return c.get(p, http.MethodGet, []string{"v1", "reshard"}, nil, nil)
			}
			showStatus(p.Stdout, &list[i])
			for _, d := range h.Differences {
				fmt.Fprintf(p.Stdout, "differs: %s\n", d)
			}
			if h.Differ > 0 || !h.Compared {
				return fmt.Errorf("old and new shards differ in %s", unit.Plural(h.Differ, "place", "places"))
			}
			return nil
		}
		if err := pause.For(p, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// ClearCmd deletes.
type ClearCmd struct {
	stepCmd `embed:""`
}

// Run starts it: status tells how far it is.
func (c *ClearCmd) Run(p *command.Program) error {
	return c.run(p, "delete", resharding.ChangeRequest{})
}
