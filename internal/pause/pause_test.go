package pause

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wait  time.Duration
		ends  time.Duration // of the context
		want  error
		taken time.Duration
	}{
		{"to its end", time.Hour, 2 * time.Hour, nil, time.Hour},
		{"cut short", 2 * time.Hour, time.Hour, context.DeadlineExceeded, time.Hour},
		{"not at all", 0, time.Hour, nil, 0},
		{"less than that", -time.Hour, time.Hour, nil, 0},
		{"at an end", time.Hour, 0, context.DeadlineExceeded, 0},
		{"not at all, at an end", 0, 0, context.DeadlineExceeded, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.ends)
				defer cancel()
				began := time.Now()
				if err := For(ctx, tt.wait); !errors.Is(err, tt.want) || time.Since(began) != tt.taken {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(began), tt.want, tt.taken)
				}
			})
		})
	}
}
