//go:build !unix

package output

import "io/fs"

// keepOwner does nothing where a file's owner is not part of what os tells of it.
func keepOwner(string, fs.FileInfo) {}
