package main

import (
	"encoding/json"
	"fmt"
	"io"

	"pingline/sim/audit"
)

// demoResult is the result of the audit, and the demo's last line.
type demoResult struct {
	audit.Report
	Gaps map[string]int64 `json:"conservation_gap"`
}

// print writes the result as a sentence, or as a JSON object.
func (r *demoResult) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	_, err := fmt.Fprintln(w, r.Sentence())
	return err
}

// Err tells whether the run kept its promises.
func (r *demoResult) Err() error {
	for equation, gap := range r.Gaps {
		if gap != 0 {
			return fmt.Errorf("the accounts do not add up: %s lacks %d", equation, gap)
		}
	}
	return r.Report.Err()
}
