package driver

import (
	"context"
	"io"
	"time"
)

const (
	leastRate = 1 << 20  // bytes a second at which a file must be written or read
	mostRate  = 32 << 20 // bytes a second at which a file is written: servers refuse what they cannot sync in time
)

// FileTime bounds how long a file of n bytes may take.
func FileTime(ctx context.Context, n int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, RequestTimeout+time.Duration(n/leastRate)*time.Second)
}

// Paced returns a reader of from that gives 32 MiB/s at most, from now on, and fails once ctx is done.
func Paced(ctx context.Context, from io.Reader) io.Reader {
	return &pacedReader{ctx: ctx, from: from, began: time.Now()}
}

type pacedReader struct {
	ctx   context.Context
	from  io.Reader
	began time.Time
	read  int64
}

func (r *pacedReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.read += int64(n)
	select {
	case <-time.After(time.Until(r.began.Add(time.Duration(float64(r.read) / mostRate * float64(time.Second))))):
	case <-r.ctx.Done():
		return 0, context.Cause(r.ctx)
	}
	return n, err
}
