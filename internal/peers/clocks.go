package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	clocksEvery = 10 * time.Second
	clocksApart = time.Second // from which a difference is told
)

// compareClocks asks each owner for its time again and again, until ctx ends.
func (p *Peers) compareClocks(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(clocksEvery):
		}
		var notes []string
		for _, part := range p.state() {
			if part.Own || part.Node == "" {
				continue
			}
			asked, said := time.Now().UnixMilli(), OwnerState{}
			text, err := p.gatherer.State(part.Part)
			if err == nil && json.Unmarshal(text, &said) == nil {
				if note := apart(said.Clock-time.Now().UnixMilli(), said.Clock-asked); note != "" {
					notes = append(notes, fmt.Sprintf("the clock of node %s is %s: set both by a time server", part.Node, note))
				}
			}
		}
		p.clocks.Store(&notes)
	}
}

// apart says by how much a clock differs whose difference to ours is in [least, most], in ms, or "" if that may be
// less than clocksApart: a slow answer, and a process that was suspended, tell nothing.
func apart(least, most int64) string {
	switch limit := clocksApart.Milliseconds(); {
	case least >= limit:
		return fmt.Sprintf("%.1f s ahead of ours", float64(least)/1000)
	case -most >= limit:
		return fmt.Sprintf("%.1f s behind ours", float64(-most)/1000)
	}
	return ""
}
