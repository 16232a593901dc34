package influxd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child, from its start to its end.
type process struct {
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed when the child is gone and err is set
	err  error         // how the child ended
}

// startProcess runs binary with args and env. Log lines go to output, if it is
// not nil.
func startProcess(binary string, args, env []string, output io.Writer) (*process, error) {
	log := &tail{next: output}
	cmd := exec.Command(binary, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log // the same writer for both, so that its calls do not overlap
	cmd.SysProcAttr = childAttr()
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the child and waits for its end, on a locked thread: Linux sends
// the parent-death signal when the thread that made the child ends, and an
// unlocked thread may end at any time.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal returns os.ErrProcessDone if the child is gone.
func (p *process) signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// kill returns when the child is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error is that the child is gone
	<-p.done
}

// stop asks the child to end and gives it some time before it kills it. It
// sends SIGINT, since a 2.x ends at once on SIGTERM. Its exit status is no fault: a 2.x has 1
// now and then, where a request was still being answered.
func (p *process) stop(grace time.Duration) error {
	asked := errors.Join(p.signal(syscall.SIGINT), p.signal(syscall.SIGCONT))
	if errors.Is(asked, os.ErrProcessDone) {
		<-p.done
		return nil
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		if exit, ok := errors.AsType[*exec.ExitError](p.err); ok && exit.Exited() {
			return nil
		}
		return p.err
	case <-timer.C:
		p.kill()
		return fmt.Errorf("killed: not stopped after %v", grace)
	}
}

// tail passes a log on and remembers its end, for the error of a child that
// does not start.
type tail struct {
	next io.Writer // may be nil

	mu   sync.Mutex // guards last; taken after Server.mu
	last []byte
}

const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.last = append(t.last, b...)
	t.last = t.last[max(0, len(t.last)-tailSize):]
	t.mu.Unlock()
	if t.next == nil {
		return len(b), nil
	}
	return t.next.Write(b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.last))
}
