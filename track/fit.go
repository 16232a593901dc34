package track

import (
	"bufio"

	"pingline"
	"pingline/track/fit"
)

// watch reads the records of a FIT file that have a position. The rider is the name of
// the file.
type watch struct {
	*fit.Reader
	file string
}

func newFIT(in *bufio.Reader, file string) *watch {
	return &watch{fit.NewReader(in), nameOfFile(file)}
}

func (w *watch) header() []byte { return nil }

func (w *watch) next(p *pingline.Ping) (raw []byte, record int, err error) {
	p.Rider = w.file
	p.Fix, record, err = w.Next()
	return nil, record, err
}
