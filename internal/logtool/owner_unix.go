//go:build unix

package logtool

import (
	"fmt"
	"os"
	"syscall"
)

// checkOwner returns an error where the superuser would leave files in the log that the node
// may not write.
func checkOwner(dataDir, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
		return fmt.Errorf("%s belongs to user %d: run this as that user, by sudo -u, or the node could not write its log", dataDir, st.Uid)
	}
	return nil
}
