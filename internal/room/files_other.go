//go:build !unix

package room

// MaxFiles is how many files this process may have open, 0 if that is not known.
func MaxFiles() uint64 { return 0 }
