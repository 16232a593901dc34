package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// Script is an Injector that calls a program with two arguments, begin or end and the
// name of a failure. Begin is unavailable if the program exits with another status than
// 0. It runs without a terminal, so that a Ctrl-C there does not reach it nor what it
// starts.
type Script struct {
	Path   string
	Output io.Writer // receives what it prints; nil drops it
}

// Begin implements Injector.
func (s Script) Begin(ctx context.Context, f Failure) error {
	err := s.call(ctx, "begin", f)
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// End implements Injector.
func (s Script) End(ctx context.Context, f Failure) error { return s.call(ctx, "end", f) }

func (s Script) call(ctx context.Context, verb string, f Failure) error {
	cmd := exec.CommandContext(ctx, s.Path, verb, f.String())
	cmd.Stdout, cmd.Stderr = s.Output, s.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second // for a child in the background that holds its output open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		err = nil
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s %v: it takes too long, and was killed", s.Path, verb, f)
	}
	return fmt.Errorf("%s %s %v: %w", s.Path, verb, f, err)
}
