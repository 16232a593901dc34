package reads

import "io"

// pieces is an answer made piece by piece, as it leaves.
type pieces struct {
	next func(dst []byte) []byte // appends the next piece, nothing at the end
	buf  []byte
	at   int
}

func (p *pieces) Read(dst []byte) (int, error) {
	if p.at == len(p.buf) {
		p.buf, p.at = p.next(p.buf[:0]), 0
		if len(p.buf) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(dst, p.buf[p.at:])
	p.at += n
	return n, nil
}

// inTurn returns the pieces of several answers, in order.
func inTurn(list ...func(dst []byte) []byte) *pieces {
	return &pieces{next: func(dst []byte) []byte {
		for len(list) > 0 {
			if dst = list[0](dst); len(dst) > 0 {
				return dst
			}
			list = list[1:]
		}
		return dst
	}}
}

// text returns s as a single piece.
func text(s string) func(dst []byte) []byte {
	return func(dst []byte) []byte {
		dst, s = append(dst, s...), ""
		return dst
	}
}

// eachOf returns n items with commas between, several in a piece.
func eachOf(n int, item func(dst []byte, i int) []byte) func(dst []byte) []byte {
	const some = 32
	i := 0
	return func(dst []byte) []byte {
		for end := min(i+some, n); i < end; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item(dst, i)
		}
		return dst
	}
}
