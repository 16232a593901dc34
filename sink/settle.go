package sink

import "context"

// settle has InfluxDB take all rows of b, or puts aside those that it refuses
// for what they say. The only error is ctx's.
func (l *lane) settle(ctx, writing context.Context, b *batch) error {
	return l.bisect(ctx, writing, b, b.all())
}

// bisect writes rows, or finds those that InfluxDB refuses by halving and puts
// them aside: k bad rows of n cost about 2k log n writes.
func (l *lane) bisect(ctx, writing context.Context, b *batch, rows []int) error {
	for len(rows) > 0 {
		n, refused, err := l.write(ctx, writing, b, rows)
		switch {
		case err != nil:
			return err
		case refused == nil:
			l.books.wrote(b, rows[:n])
		case n == 1 || refused.refusesAll(n):
			if err := l.putAside(ctx, b.pick(rows[:n]), refused); err != nil {
				return err
			}
			l.books.buried(b, rows[:n], refused)
		default:
			if err := l.bisect(ctx, writing, b, rows[:n/2]); err != nil {
				return err
			}
			if err := l.bisect(ctx, writing, b, rows[n/2:n]); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return nil
}

// putAside makes rows dead letters. While there is no room for them it waits:
// the lane stands still rather than lose them. The only error is ctx's.
func (l *lane) putAside(ctx context.Context, rows []byte, refused *WriteError) error {
	for {
		err := l.dead.append(l.home.Name, refused, rows)
		if err == nil {
			l.books.fine(l)
			return nil
		}
		l.books.trouble(l, Configuration, err)
		if err := sleep(ctx, l.cfg.RetryMax); err != nil {
			return err
		}
	}
}
