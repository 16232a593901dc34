package server

import (
	"bytes"
	"encoding/json"
)

// plainJSON returns v as JSON with <, > and & as they are: no answer is put into a page
// by itself, and people read them.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool     `json:"ready"`
	Reason string   `json:"reason,omitempty"`
	Level  int      `json:"level"`
	Notes  []string `json:"notes"`
}

// pageEnd is what an answer with points says behind them.
type pageEnd struct {
	Next       string `json:"next,omitempty"`
	CompleteTo *int64 `json:"complete_to,omitempty"`
	Partial    bool   `json:"partial"`
	MemoryOnly bool   `json:"memory_only,omitempty"`
}
