// Package czlib takes the place of github.com/datadog/czlib, which reads zlib by the
// system's C library. The reader of OSM PBF asks for it wherever cgo is on; with this
// one a build needs no zlib.h, and the binary no libz.so.
package czlib

import (
	"compress/zlib"
	"io"
)

// NewReader returns a reader of the text in a zlib stream.
func NewReader(r io.Reader) (io.ReadCloser, error) { return zlib.NewReader(r) }
