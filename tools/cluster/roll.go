package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pingline/internal/pause"
)

// rollOn restarts all nodes in turn, with the newer binary, until ctx ends, and once at least. It
// says how each restart was for the city.
func (s *site) rollOn(ctx context.Context, t *cityDrive) {
	const rest = 5 * time.Second
	for round := 0; round == 0 || ctx.Err() == nil; round++ {
		for _, n := range s.nodes {
			_ = pause.For(ctx, rest)
			if round > 0 && ctx.Err() != nil {
				return
			}
			answered, before := t.answered(), t.load.Counters().Refused
			began := time.Now()
			n.binary.Store(&s.o.binary)
			s.restart(ctx, n.subprocess, 0)
			limited, cancel := context.WithTimeout(s.ctx, patience)
			err := s.serves(limited)
			cancel()
			if err != nil {
				s.say.line("! %v", err)
			}
			took := time.Since(began)
			_ = pause.For(s.ctx, rest)
			s.say.line("%s was restarted, all riders had nodes again after %.1f s; pings answered meanwhile: %d; requests %s",
				n.name, took.Seconds(), t.answered()-answered, since(before, t.load.Counters().Refused))
		}
	}
}

// since says how many requests more were refused, by status.
func since(before, now map[int]uint64) string {
	var list []string
	for _, status := range slices.Sorted(maps.Keys(now)) {
		if n := now[status] - before[status]; n > 0 {
			name := fmt.Sprintf("answered %d", status)
			if status == 0 {
				name = "without an answer"
			}
			list = append(list, fmt.Sprintf("%s: %d", name, n))
		}
	}
	if len(list) == 0 {
		return "refused: 0"
	}
	return strings.Join(list, ", ")
}
