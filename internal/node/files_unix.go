//go:build unix

package node

import "syscall"

// maxFiles is how many files this process may have open, 0 if that is not known.
func maxFiles() uint64 {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 0
	}
	return uint64(lim.Cur) //nolint:unconvert // signed on some systems
}
