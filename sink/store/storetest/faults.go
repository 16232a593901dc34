package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pingline/sink/store"
)

// refusalOf returns the refusal that an error must wrap.
func refusalOf(t *testing.T, err error, kind store.Kind) *store.Refusal {
	t.Helper()
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Err == nil {
		t.Fatalf("the error is %v (%+v), want a refusal of kind %v", err, r, kind)
	}
	if n := len(r.Err.Error()); n > 2<<10 {
		t.Errorf("the store's words have %d bytes", n)
	}
	if kind == store.Configure && (!slices.Contains(store.Stops, r.Reason) || r.Advice == "") {
		t.Errorf("reason %q is none of %q, or there is no advice: %q", r.Reason, store.Stops, r.Advice)
	}
	if kind == store.BadRows && !slices.Contains(store.Reasons, r.Reason) {
		t.Errorf("reason %q is none of %q", r.Reason, store.Reasons)
	}
	return r
}

func testRefusedRow(t *testing.T, p *Place) {
	if p.Refuse == nil {
		t.Skip("this store refuses no row for its content")
	}
	refused, err := p.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	list := Fleet(6, 10_000)
	list[6789] = refused
	writes := 0
	var bad []int
	var deliver func(from, to int)
	deliver = func(from, to int) { // bisects, as the sink does
		writes++
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := p.Store.Write(ctx, rows(p.Store, list[from:to]))
		if err == nil {
			return
		}
		r := refusalOf(t, err, store.BadRows)
		if !slices.Contains(store.Reasons, r.Reason) {
			t.Fatalf("reason %q is none of %q", r.Reason, store.Reasons)
		}
		for _, i := range r.Suspects {
			if i < 0 || i >= to-from {
				t.Fatalf("row %d of %d is suspected", i, to-from)
			}
		}
		if to-from == 1 || r.All {
			for i := from; i < to; i++ {
				bad = append(bad, i)
			}
			return
		}
		deliver(from, (from+to)/2)
		deliver((from+to)/2, to)
	}
	deliver(0, len(list))
	if !slices.Equal(bad, []int{6789}) {
		t.Errorf("rows %d were refused, want 6789 alone", bad)
	}
	if writes > 40 {
		t.Errorf("%d writes", writes)
	}
	p.has(t, slices.Delete(list, 6789, 6790))
}

func testIntruder(t *testing.T, p *Place) {
	if p.Intruder == nil {
		t.Skip("this store asks for no credentials")
	}
	list := Fleet(7, 10)
	for name, r := range map[string]store.Rows{"rows": rows(p.Intruder, list), "no rows": {}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			refusal := refusalOf(t, p.Intruder.Write(ctx, r), store.Configure)
			if refusal.Reason != store.Credentials && refusal.Reason != store.Rights || refusal.Advice == "" {
				t.Errorf("reason %q, advice %q", refusal.Reason, refusal.Advice)
			}
		})
	}
	write(t, p.Store, nil) // the owner's credentials are fine
}

func testKilled(t *testing.T, p *Place) {
	if p.Kill == nil || p.Restart == nil {
		t.Skip("this store has no server to kill")
	}
	list := Fleet(8, 200)
	write(t, p.Store, list[:100])
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = refusalOf(t, p.Store.Write(ctx, rows(p.Store, list[100:])), store.Retry)
	_ = refusalOf(t, p.Store.Write(ctx, store.Rows{}), store.Retry)
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	for {
		err := p.Store.Write(ctx, rows(p.Store, list[100:]))
		if err == nil {
			break
		}
		_ = refusalOf(t, err, store.Retry)
	}
	p.has(t, list)
}

func testFrozen(t *testing.T, p *Place) {
	if p.Freeze == nil || p.Thaw == nil {
		t.Skip("this store has no server to freeze")
	}
	list := Fleet(9, 100)
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := p.Store.Write(ctx, rows(p.Store, list))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want that the time is up", err)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	write(t, p.Store, list)
	p.has(t, list)
}

func testCalledOff(t *testing.T, p *Place) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Store.Write(ctx, rows(p.Store, Fleet(11, 10)))
	if !errors.Is(err, context.Canceled) || errors.As(err, new(*store.Refusal)) {
		t.Errorf("the error is %v, want that it was called off", err)
	}
}
