package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Operator is an Injector that asks a person, and waits for Enter.
type Operator struct {
	to      io.Writer
	stopped <-chan struct{}
	lines   <-chan typed // closed at the end
}

// typed is a line, and when it came.
type typed struct {
	text string
	at   time.Time
}

// NewOperator returns one that is asked on to and answers on from, which is read until
// it ends. Once ctx ends, Begin waits no longer.
func NewOperator(ctx context.Context, from io.Reader, to io.Writer) *Operator {
	lines := make(chan typed)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(from); s.Scan(); {
			lines <- typed{s.Text(), time.Now()}
		}
	}()
	return &Operator{to, ctx.Done(), lines}
}

// Begin implements Injector. A person who cannot bring a failure about types no.
func (o *Operator) Begin(ctx context.Context, f Failure) error {
	answer, err := o.ask(ctx, o.stopped, "now "+failureNames[f].begin+", then press Enter; type no if that cannot be: ")
	switch {
	case err != nil:
		return fmt.Errorf("begin: %w", err)
	case strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "n"):
		return fmt.Errorf("%w: the answer was no", ErrUnavailable)
	}
	return nil
}

// End implements Injector.
func (o *Operator) End(ctx context.Context, f Failure) error {
	if _, err := o.ask(ctx, nil, "now "+failureNames[f].end+", then press Enter: "); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

// ask returns the first line that is typed after the question.
func (o *Operator) ask(ctx context.Context, stopped <-chan struct{}, question string) (string, error) {
	asked := time.Now()
	fmt.Fprint(o.to, question)
	for {
		select {
		case line, ok := <-o.lines:
			switch {
			case !ok:
				fmt.Fprintln(o.to)
				return "", errors.New("there is nobody to answer any more")
			case line.at.After(asked):
				return line.text, nil
			}
		case <-stopped:
			fmt.Fprintln(o.to)
			return "", context.Canceled
		case <-ctx.Done():
			fmt.Fprintln(o.to)
			return "", errors.New("nobody answered in time")
		}
	}
}
