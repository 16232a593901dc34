//go:build unix && !linux

package influxd

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the child, so that its parent can
// still drain into it.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitStop does not wait here: it would need a waitid that does not reap the
// child.
func awaitStop(int) error { return nil }
