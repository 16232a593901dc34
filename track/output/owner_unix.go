//go:build unix

package output

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives path the owner and group of the file that it is to replace, as far as
// the system allows, and a mode.
func keepOwner(path string, had fs.FileInfo, mode fs.FileMode) {
	if s, ok := had.Sys().(*syscall.Stat_t); ok {
		_ = os.Chown(path, int(s.Uid), int(s.Gid))
		_ = os.Chmod(path, mode) // a change of owner clears the set-id bits
	}
}
