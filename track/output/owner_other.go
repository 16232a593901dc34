//go:build !unix

package output

import "io/fs"

// keepOwner does nothing on systems where package os does not report a file's owner.
func keepOwner(string, fs.FileInfo, fs.FileMode) {}
