package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/route"
	"pingline/sink/store"
)

// testBatcher reads records and errors from a channel as from a log. In a
// bubble of synctest the channel must be made there.
func testBatcher(log <-chan any) *Batcher {
	return &Batcher{
		Store: testRows, Most: 5000, Bytes: 4 << 20, Wait: time.Second, Logger: quiet,
		Routes: dealing(0),
		Counts: true,
		Done:   queue.Cursor{Next: 1},
		Next: func(ctx context.Context) (queue.Record, error) {
			select {
			case v := <-log:
				if err, ok := v.(error); ok {
					return queue.Record{}, err
				}
				return v.(queue.Record), nil
			case <-ctx.Done():
				return queue.Record{}, ctx.Err()
			}
		},
	}
}

// dealing deals every stored entry to one owner.
func dealing(who route.LaneID) *route.Cache {
	return route.NewCache(func(e *pingline.Entry, _ int64) route.LaneID {
		if !e.Stored() {
			return route.NoLane
		}
		return who
	}, 0)
}

// record is commit number of entries, behind before stored pings.
func record(number, before uint64, entries ...pingline.Entry) queue.Record {
	r := queue.Record{Number: number, Payload: commit(entries...)}
	r.Before[pingline.TotalStored], r.Totals[pingline.TotalStored] = before, before
	for i := range entries {
		if entries[i].Stored() {
			r.Totals[pingline.TotalStored]++
		}
	}
	return r
}

// fill returns the next batch of r.
func fill(t *testing.T, r *Batcher) *Encoded {
	t.Helper()
	b := new(Encoded)
	if err := r.Fill(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// cursor is behind so many stored pings, all of them the lane's.
func cursor(next, stored uint64) (c queue.Cursor) {
	c.Next, c.Totals[pingline.TotalStored], c.Passed = next, stored, stored
	return c
}

func TestBatchEndsAtLinesAndInsideCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(chan any, 10)
		log <- record(1, 0, fleet(1, 3)...)
		log <- record(2, 3, fleet(2, 12_000)...)
		log <- record(3, 12_003, held(5)...)
		begun := time.Now()
		r := testBatcher(log)
		var got []byte
		for i, want := range []struct {
			rows   int
			cursor queue.Cursor
		}{
			{5000, cursor(2, 3)},
			{5000, cursor(2, 3)},
		} {
			b := fill(t, r)
			if b.Len() != want.rows || b.Cursor != want.cursor {
				t.Errorf("batch %d: %d rows, cursor %+v, want %+v", i, b.Len(), b.Cursor, want)
			}
			got = append(got, b.Rows...)
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("full batches took %v though the log had them", waited)
		}
		last := fill(t, r)
		if last.Len() != 2003 || last.Cursor != cursor(4, 12_003) {
			t.Errorf("the last batch has %d rows, cursor %+v", last.Len(), last.Cursor)
		}
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("the last batch waited %v, want a second", waited)
		}
		var want []byte
		for _, e := range append(fleet(1, 3), fleet(2, 12_000)...) {
			want = appendLine(want, &e)
		}
		if !bytes.Equal(append(got, last.Rows...), want) {
			t.Error("the batches do not make up the log")
		}
	})
}

func TestBatchEndsAtBytes(t *testing.T) {
	log := make(chan any, 10)
	log <- record(1, 0, fleet(1, 1000)...)
	r := testBatcher(log)
	r.Bytes = 32 << 10
	b := fill(t, r)
	if n := len(b.Rows); n > r.Bytes || n < r.Bytes-2*store.MaxRow {
		t.Errorf("the batch has %d bytes, want close to %d", n, r.Bytes)
	}
	if b.Cursor != cursor(1, 0) {
		t.Errorf("cursor %+v, want it at the commit that is not done", b.Cursor)
	}
	if got := b.Pick(b.All()); !bytes.Equal(got, b.Rows) {
		t.Error("all rows are not all lines")
	}
	third := bytes.Clone(b.Pick([]int{3}))
	if bytes.Count(third, []byte("\n")) != 1 || b.At[3] != recently+3 {
		t.Errorf("row 3 is %q at %d", third, b.At[3])
	}
	if got, want := b.Pick([]int{0, 3}), slices.Concat(b.Pick([]int{0}), third); !bytes.Equal(got, want) {
		t.Errorf("rows 0 and 3 are %q, want %q", got, want)
	}
	if got := b.Pick(nil); len(got) != 0 {
		t.Errorf("no rows are %q", got)
	}
}

func TestBatchWaitsFromItsFirstCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(chan any)
		go func() {
			time.Sleep(time.Hour) // nothing to write: no batch
			for i := range 5 {
				log <- record(uint64(i+1), uint64(i), fleet(uint64(i), 1)...)
				time.Sleep(300 * time.Millisecond)
			}
		}()
		begun := time.Now()
		r := testBatcher(log)
		b := fill(t, r)
		if waited := time.Since(begun); waited != time.Hour+time.Second || b.Len() != 4 || b.Cursor != cursor(5, 4) {
			t.Errorf("%d rows after %v, cursor %+v", b.Len(), waited, b.Cursor)
		}
		if b := fill(t, r); b.Len() != 1 || b.Cursor != cursor(6, 5) {
			t.Errorf("%d rows in the second batch, cursor %+v", b.Len(), b.Cursor)
		}
	})
}

func TestBatchOfNothingStillMovesTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(chan any, 10)
		log <- record(1, 0, held(3)...)
		if b := fill(t, testBatcher(log)); b.Len() != 0 || b.Cursor != cursor(2, 0) {
			t.Errorf("%d rows, cursor %+v", b.Len(), b.Cursor)
		}
	})
}

func TestBatchCountsDamage(t *testing.T) {
	lost := &queue.DamageError{From: 2, To: 3}
	lost.Lost[pingline.TotalStored] = 7
	unknown := &queue.DamageError{From: 2, To: 3}
	torn := record(2, 4, fleet(2, 10)...)
	torn.Payload = torn.Payload[:len(torn.Payload)-5]
	noCommit := record(2, 4, fleet(2, 10)...)
	noCommit.Payload = []byte("other")
	for _, tt := range []struct {
		name    string
		log     []any
		rows    int
		damaged uint64
		cursor  queue.Cursor
	}{
		{"none", []any{record(1, 0, fleet(1, 4)...), record(2, 4, fleet(2, 10)...)}, 14, 0, cursor(3, 14)},
		{"commits are missing", []any{record(1, 0, fleet(1, 4)...), lost, record(4, 11, fleet(2, 2)...)}, 6, 7, cursor(5, 13)},
		{"how many is told by the next commit", []any{record(1, 0, fleet(1, 4)...), unknown, record(4, 11, fleet(2, 2)...)}, 6, 7, cursor(5, 13)},
		{"the tail is missing", []any{record(1, 0, fleet(1, 4)...), lost}, 4, 7, cursor(4, 11)},
		{"a commit cut short", []any{record(1, 0, fleet(1, 4)...), torn, record(3, 14, fleet(3, 1)...)}, 4 + 9 + 1, 1, cursor(4, 15)},
		{"a commit that is none", []any{record(1, 0, fleet(1, 4)...), noCommit, record(3, 14, fleet(3, 1)...)}, 5, 10, cursor(4, 15)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := make(chan any, 10)
				for _, v := range tt.log {
					log <- v
				}
				b := fill(t, testBatcher(log))
				if b.Len() != tt.rows || b.Damaged != tt.damaged || b.Cursor != tt.cursor {
					t.Errorf("%d rows, %d damaged, cursor %+v; want %d, %d, %+v", b.Len(), b.Damaged, b.Cursor, tt.rows, tt.damaged, tt.cursor)
				}
			})
		})
	}
}

// Wherever a batch ends, the reader can be opened anew.
func TestBatcherPosition(t *testing.T) {
	list := []queue.Record{record(1, 0, fleet(1, 4)...), record(2, 4, fleet(2, 4)...), record(3, 8, fleet(3, 4)...)}
	r := testBatcher(nil)
	r.Most = 3
	r.Next = func(context.Context) (queue.Record, error) {
		at := r.Position()
		if at > 3 {
			return queue.Record{}, ErrEnd
		}
		return list[at-1], nil
	}
	refuse := 0
	r.Behind = func(time.Time, *queue.Record) bool {
		refuse++
		return refuse%2 == 0 // each but the first is looked at twice
	}
	var lines []byte
	for {
		b := new(Encoded)
		err := r.Fill(t.Context(), b)
		if errors.Is(err, ErrBehind) {
			if r.Position() != r.Held.Number+1 {
				t.Errorf("position %d, though %d is held", r.Position(), r.Held.Number)
			}
			continue
		}
		if err != nil {
			break
		}
		lines = append(lines, b.Rows...)
	}
	if n := bytes.Count(lines, []byte("\n")); n != 12 || r.Done != cursor(4, 12) {
		t.Errorf("%d rows, cursor %+v", n, r.Done)
	}
}

func TestBatchBeforeAnError(t *testing.T) {
	broken := errors.New("broken")
	log := make(chan any, 10)
	log <- record(1, 0, fleet(1, 4)...)
	log <- broken
	log <- broken
	r := testBatcher(log)
	if b := fill(t, r); b.Len() != 4 {
		t.Errorf("%d rows, want those before the error", b.Len())
	}
	if err := r.Fill(t.Context(), new(Encoded)); !errors.Is(err, broken) {
		t.Errorf("fill = %v, want the error", err)
	}
}

func TestBatchLeavesOutWhatIsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(chan any, 10)
		log <- record(1, 0, append(fleet(1, 30), held(5)...)...)
		r := testBatcher(log)
		r.Lane = 1
		r.Routes = route.NewCache(func(e *pingline.Entry, _ int64) route.LaneID {
			if !e.Stored() {
				return route.NoLane
			}
			return route.LaneID(e.Rider[len(e.Rider)-1] - '3')
		}, 0)
		want := cursor(2, 30)
		want.Passed = 3
		if b := fill(t, r); b.Len() != 3 || b.Damaged != 0 || b.Cursor != want || r.Seen != 30 || r.Claimed != 3 {
			t.Errorf("%d rows, %d damaged, %d of %d, cursor %+v", b.Len(), b.Damaged, r.Claimed, r.Seen, b.Cursor)
		}
	})
}

func TestLineOfTheLongestEntryFits(t *testing.T) {
	long := func(n int) string { return fmt.Sprintf("%0*d", n, 0) }
	e := pingline.Entry{Verdict: pingline.Accepted, Cell: 1<<64 - 1, Late: true, Skipped: 1<<32 - 1}
	e.Rider, e.Device, e.Trip, e.Event = long(pingline.MaxID), long(pingline.MaxID), long(pingline.MaxID), long(pingline.MaxEvent)
	e.Fix = pingline.Fix{At: -1 << 63, LatE7: -899_999_999, LonE7: -1_799_999_999, Known: 31,
		Speed: 1e-45, Heading: 1e-45, Accuracy: 1e-45, Altitude: -1e-45, Battery: 1e-45}
	if n := len(appendLine(nil, &e)); n > store.MaxRow {
		t.Errorf("the line has %d bytes, store.MaxRow is %d", n, store.MaxRow)
	}
}
