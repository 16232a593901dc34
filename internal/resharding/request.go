package resharding

import (
	"fmt"
	"slices"

	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// ChangeRequest is the body of a step. All steps but plan and start take Set, Force, Full and Clean only.
type ChangeRequest struct {
	Set     string   `json:"set,omitempty"`     // "" is the main set
	Add     []string `json:"add,omitempty"`     // NAME of a shard that is known, or name=…,url=… as in --shard
	Remove  []string `json:"remove,omitempty"`  // NAME
	Weight  []string `json:"weight,omitempty"`  // NAME=WEIGHT
	Replace []string `json:"replace,omitempty"` // OLD=NEW, NEW as in Add
	Force   bool     `json:"force,omitempty"`
	History string   `json:"history,omitempty"` // of plan and start: HistoryNone or HistoryMove; "" is none
	Rate    *float64 `json:"rate,omitempty"`    // of plan and start: most rows of history a second, 0: no bound; nil is DefaultRate
	Full    bool     `json:"full,omitempty"`    // of verify: checksums of all
	Clean   bool     `json:"clean,omitempty"`   // of abort: history that was copied is deleted from the new shards
}

// ChangePlan is the answer to plan and start.
type ChangePlan struct {
	reshard.Intent
	Moved, Of int // keys whose shard changes, of so many; of known cells if Cells
	Cells     bool
	History   *moving.Weight `json:",omitempty"` // nil: none is moved
	Shards    []Found        `json:",omitempty"` // new shards
	Notes     []string       `json:",omitempty"`
	From      uint64         `json:",omitempty"` // number of the first commit that is routed anew, once started
}

// Found is the state of a new shard.
type Found struct {
	Shard    string
	Findings []store.Finding
}

// notes are sentences on what a change does not do.
func notes(d *reshard.Intent, fresh []sink.ShardStore, kept bool) (list []string) {
	for _, name := range d.Old.Names() {
		switch gone := !slices.Contains(d.New.Names(), name); {
		case d.Move != nil && gone:
			list = append(list, fmt.Sprintf("the history of %s is moved, and stays there as well: after finish, pingline reshard delete removes it there", name))
		case gone:
			list = append(list, fmt.Sprintf("the history of %s stays there, and is read from there as long as a --shard names %s: --history=move copies it; or copy it later with pingline copy, then take its --shard away and name it in --moved-shard", name, name))
		}
	}
	if d.Move == nil && !d.Mirrored {
		list = append(list, "no history is copied: readers ask all shards")
	}
	for _, sh := range fresh {
		if kept {
			list = append(list, fmt.Sprintf("the address of %s is kept with the logs, and a node that takes a part opens it by that; files that it names have to be on all nodes", sh.Name))
			continue
		}
		list = append(list, fmt.Sprintf("add --shard=name=%s,url=… to the settings of the node: without it the next start is refused", sh.Name))
	}
	return list
}

// unfit returns an error if a new shard cannot be written to or read from.
func unfit(list []Found) error {
	for _, f := range list {
		for _, one := range f.Findings {
			if one.Remedy != "" && one.What != "retention" {
				return &reshard.RefusedError{Why: fmt.Sprintf("shard %s: %s: %s: %s (or --force)", f.Shard, one.What, one.Found, one.Remedy)}
			}
		}
	}
	return nil
}

// historyOf reads what a request says of history.
func historyOf(r *ChangeRequest, o *reshard.Order) error {
	rate := float64(DefaultRate)
	if r.Rate != nil {
		rate = *r.Rate
	}
	switch {
	case r.History != "" && r.History != HistoryNone && r.History != HistoryMove:
		return fmt.Errorf("history: %q is neither %s nor %s", r.History, HistoryNone, HistoryMove)
	case !(rate >= 0 && rate <= 1e9):
		return fmt.Errorf("rate: %v is not in [0, 1000000000]", rate)
	case r.History == HistoryMove:
		o.Move = &reshard.Move{Rate: rate}
	}
	return nil
}

// Values of --history.
const (
	HistoryNone = "none"
	HistoryMove = "move"
)

// DefaultRate is how many rows of history a second are moved at most.
const DefaultRate = 20_000
