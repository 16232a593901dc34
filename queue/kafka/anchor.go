package kafka

import (
	"context"
	"encoding/json"
	"fmt"

	"pingline/queue/record"
)

// anchors are judgements of a log, kept so that it need not be read from its beginning. Only
// the last is used. All but close and load are called with the session's mu held.
type anchors struct {
	at    *partition
	bytes int64 // of the log, at the last anchor
}

const (
	anchorEvery = 32 << 20  // bytes of the log between two anchors
	anchorMost  = 900 << 10 // bytes of an anchor
	anchorForm  = 1
)

type anchor struct {
	Form int     `json:"form"`
	At   history `json:"at"`
}

// note saves h if the log has grown enough since the last anchor.
func (a *anchors) note(h *history) {
	if h.Bytes-a.bytes >= anchorEvery {
		a.save(h)
	}
}

// save writes an anchor in the background: none is needed.
func (a *anchors) save(h *history) {
	a.bytes = h.Bytes
	b, err := json.Marshal(anchor{anchorForm, *h})
	if err != nil || len(b) > anchorMost {
		return
	}
	at := a.at
	go func() {
		if _, err := at.produce(context.Background(), hung, nil, b); err == nil {
			_ = at.trimOld(context.Background(), 1)
		}
	}()
}

// close writes an anchor.
func (a *anchors) close(ctx context.Context, h *history) {
	if b, err := json.Marshal(anchor{anchorForm, *h}); err == nil && len(b) <= anchorMost {
		_, _ = a.at.produce(ctx, hung, nil, b) // none is needed
	}
}

// trimOld deletes all messages but the last so many.
func (p *partition) trimOld(ctx context.Context, keep int64) error {
	end, err := p.find(ctx, atEnd)
	if err != nil || end <= keep {
		return err
	}
	return p.trim(ctx, end-keep)
}

// load returns the last anchor of a log that begins at an offset, nil if there is none that is of
// use: the record it ends with must be where it says.
func (a *anchors) load(ctx context.Context, log *partition, start int64) (*history, error) {
	end, err := a.at.find(ctx, atEnd)
	if err != nil || end == 0 {
		return nil, err
	}
	got, err := a.at.fetch(ctx, end-1, 1)
	if err != nil || len(got.list) == 0 {
		return nil, err
	}
	h := parseAnchor(got.list[0].Value)
	if h == nil {
		return nil, nil
	}
	at := h.offset(h.Last)
	reached, err := log.find(ctx, atEnd)
	if err != nil || at < start || h.Next > reached {
		return nil, err
	}
	there, err := log.fetch(ctx, at, 1)
	if err != nil {
		return nil, fmt.Errorf("the record at which the log was judged: %w", err)
	}
	if len(there.list) == 0 || there.list[0].Offset != at || numberOf(there.list[0].Value) != h.Number {
		return nil, nil
	}
	a.bytes = h.Bytes
	return h, nil
}

// parseAnchor returns nil if b is no anchor that this version knows.
func parseAnchor(b []byte) *history {
	var last anchor
	if err := json.Unmarshal(b, &last); err != nil || last.Form != anchorForm || last.At.empty() || len(last.At.Spans) == 0 {
		return nil
	}
	return &last.At
}

// numberOf returns the number of a record, 0 if b is none.
func numberOf(b []byte) uint64 {
	rec, err := record.Decode(b)
	if err != nil {
		return 0
	}
	return rec.Number
}
