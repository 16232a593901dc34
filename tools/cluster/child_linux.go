package main

import "syscall"

// childAttr keeps the terminal's Ctrl-C from a child, and has the kernel kill it when this
// process dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
