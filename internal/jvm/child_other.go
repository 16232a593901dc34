//go:build !linux

package jvm

import "syscall"

func childAttr() *syscall.SysProcAttr { return nil }
