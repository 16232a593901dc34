package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func script(t *testing.T, text string) Script {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return Script{Path: path}
}

func TestScriptIsCalled(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := script(t, `echo "$# $1 $2"; test "$2" != fill`)
	s.Output = &out
	if err := errors.Join(s.Begin(t.Context(), KillStore), s.End(t.Context(), KillStore)); err != nil {
		t.Error(err)
	}
	if err := s.Begin(t.Context(), Fill); !errors.Is(err, ErrUnavailable) || !strings.HasSuffix(err.Error(), "hook.sh begin fill: exit status 1") {
		t.Errorf("exit status 1 at the begin: %v", err)
	}
	if err := s.End(t.Context(), Fill); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("exit status 1 at the end: %v", err)
	}
	if out.String() != "2 begin kill-store\n2 end kill-store\n2 begin fill\n2 end fill\n" {
		t.Errorf("printed %q", &out)
	}
}

// A script that hangs, or is killed, may have begun something.
func TestScriptHangs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := script(t, "exec sleep 600").Begin(ctx, Kill); err == nil || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("a script that hangs: %v", err)
	}
	if err := script(t, "kill -9 $$").Begin(t.Context(), Kill); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a script that is killed: %v", err)
	}
	if err := (Script{Path: "/nowhere"}).Begin(t.Context(), Kill); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("no script: %v", err)
	}
}

// A server that a script leaves in the background does not hold it up.
func TestScriptStartsAServer(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := script(t, `sleep 600 & echo $! >"$(dirname "$0")/pid"`)
	s.Output = &out
	if err := s.End(t.Context(), Kill); err != nil {
		t.Error(err)
	}
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(s.Path), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	end := script(t, "kill "+string(pid))
	if err := end.End(t.Context(), Kill); err != nil {
		t.Errorf("the server was not there any more: %v", err)
	}
}

// person reads questions and types answers.
type person struct {
	questions chan string
	types     *io.PipeWriter
}

func (p person) Write(b []byte) (int, error) {
	if text := strings.TrimSpace(string(b)); text != "" {
		p.questions <- text
	}
	return len(b), nil
}

func newPerson(ctx context.Context, t *testing.T) (person, *Operator) {
	read, write := io.Pipe()
	t.Cleanup(func() { _ = write.Close() })
	p := person{make(chan string, 10), write}
	return p, NewOperator(ctx, read, p)
}

func TestOperatorIsAsked(t *testing.T) {
	t.Parallel()
	p, o := newPerson(t.Context(), t)
	done := make(chan error)
	for _, tt := range []struct {
		ask     func(context.Context, Failure) error
		answer  string
		want    string
		wantErr error
	}{
		{o.Begin, "\n", "now freeze the ingester (kill -STOP), then press Enter; type no if that cannot be:", nil},
		{o.End, "\n", "now let the ingester go on (kill -CONT), then press Enter:", nil},
		{o.Begin, "No\n", "now freeze the ingester (kill -STOP), then press Enter; type no if that cannot be:", ErrUnavailable},
	} {
		go func() { done <- tt.ask(t.Context(), Freeze) }()
		if q := <-p.questions; q != tt.want {
			t.Errorf("asked %q, want %q", q, tt.want)
		}
		if _, err := io.WriteString(p.types, tt.answer); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, tt.wantErr) {
			t.Errorf("%q is answered %q: %v", tt.want, tt.answer, err)
		}
	}
}

// An answer is given after its question: a second Enter is none to the next one.
func TestOperatorPassesOverEarlyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newPerson(t.Context(), t)
		defer p.types.Close()
		types := func(line string) {
			if _, err := io.WriteString(p.types, line); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		types("no\n")
		done := make(chan error, 1)
		go func() { done <- o.Begin(t.Context(), Cut) }()
		<-p.questions
		time.Sleep(time.Second)
		types("\n")
		if err := <-done; err != nil {
			t.Errorf("an answer of before was taken: %v", err)
		}
	})
}

func TestOperatorIsSilent(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	p, o := newPerson(ctx, t)
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := o.Begin(short, Kill); err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		t.Errorf("nobody answers: %v", err)
	}
	stop()
	if err := o.Begin(t.Context(), Kill); !errors.Is(err, context.Canceled) {
		t.Errorf("the user has stopped it: %v", err)
	}
	if err := p.types.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.End(t.Context(), Kill); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("the terminal is gone: %v", err)
	}
}
