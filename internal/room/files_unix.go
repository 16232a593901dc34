//go:build unix

package room

import "syscall"

// MaxFiles is how many files this process may have open, 0 if that is not known.
func MaxFiles() uint64 {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 0
	}
	return uint64(lim.Cur) //nolint:unconvert // signed on some systems
}
