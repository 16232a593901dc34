package influxd

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr keeps the terminal's Ctrl-C from the child, so that its parent can
// still drain into it, and has the kernel kill it when the parent dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitStop returns when all threads of a child that was sent SIGSTOP stand
// still, or it is dead. It does not reap the child, which another goroutine
// waits for.
func awaitStop(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
