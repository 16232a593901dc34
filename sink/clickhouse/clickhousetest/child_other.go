//go:build !linux

package clickhousetest

import "syscall"

func childAttr() *syscall.SysProcAttr { return nil }
