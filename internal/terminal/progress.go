package terminal

import (
	"io"
	"time"

	"github.com/cheggaaa/pb/v3"
)

// Progress is a line that tells how much of some work, in bytes, is done, how fast
// it is and how much time is left. A nil Progress writes nothing. It is not safe
// for concurrent use.
type Progress struct {
	to     io.Writer
	bar    *pb.ProgressBar
	next   time.Time // when to draw next
	onLine bool      // whether it is on the terminal
}

const redraw = 100 * time.Millisecond

// NewProgress returns a Progress of total bytes on w, shown once the work has
// taken longer than after; nil if w is no terminal.
func NewProgress(w io.Writer, total int64, after time.Duration) *Progress {
	if !Is(w) {
		return nil
	}
	return newProgress(w, Width(w), total, after)
}

func newProgress(w io.Writer, width int, total int64, after time.Duration) *Progress {
	bar := pb.New64(total).Set(pb.Bytes, true).Set(pb.SIBytesPrefix, true).Set(pb.Static, true)
	bar.SetTemplateString(`{{percent . "%.0f %%"}} {{bar . "[" "=" ">" " " "]"}} {{speed . "%s/s" "…"}}, {{rtime . "%s left" "" "…"}}`)
	bar.SetWidth(width - 1) // a full line would wrap
	bar.Start()
	_ = bar.String() // the speed is measured from here on
	return &Progress{to: w, bar: bar, next: time.Now().Add(after)}
}

// Add records that n more bytes are done.
func (p *Progress) Add(n int) {
	if p == nil {
		return
	}
	p.bar.Add(n)
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next, p.onLine = now.Add(redraw), true
	_, _ = io.WriteString(p.to, erase+p.bar.String()) // a terminal that is gone does not stop the work
}

// Clear takes the line away, until the next Add.
func (p *Progress) Clear() {
	if p != nil && p.onLine {
		p.onLine = false
		_, _ = io.WriteString(p.to, erase)
	}
}

// Above returns a writer to w, the terminal, of whole lines that shall stay there.
func (p *Progress) Above(w io.Writer) io.Writer {
	if p == nil {
		return w
	}
	return above{p, w}
}

type above struct {
	*Progress
	w io.Writer
}

func (a above) Write(b []byte) (int, error) {
	a.Clear()
	return a.w.Write(b)
}
