package resharding

import (
	"net/http"
	"strings"
	"testing"

	"pingline/sink/reshard"
)

// Where an abort has come to some parts only, it is the abort that is repeated: a finish would have parts
// write to different shards, for ever.
func TestHalfAnAbortIsNotFinished(t *testing.T) {
	c := &Changes{cfg: Config{Across: Across{Parts: 2, Name: func(part int) string { return []string{"n1", "n2"}[part] }}}}
	was, is := reshard.Spread{{Name: "a", Weight: 1}}, reshard.Spread{{Name: "b", Weight: 1}}
	for _, phase := range []reshard.ChangePhase{reshard.Dual, reshard.Cut} {
		force := is
		if phase == reshard.Dual {
			force = was
		}
		all := []*partStand{
			{Stand: reshard.Stand{ID: "r-1", Phase: reshard.Settled, InForce: was, New: was}},
			{Stand: reshard.Stand{ID: "r-1", Phase: phase, InForce: force, Old: was, New: is}},
		}
		for part := range all {
			all[part].Shards = map[string]string{"a": "http://a", "b": "http://b"}
		}
		for _, step := range []string{"cut over", "finish"} {
			if _, err := c.inStep(all, step); err == nil || !strings.Contains(err.Error(), "part 0 (node n1) has aborted r-1") {
				t.Errorf("%s in %s: %v", step, phase, err)
			}
		}
		all[0].InForce = is // it has finished
		if _, err := c.inStep(all, "finish"); err != nil {
			t.Errorf("finish in %s: %v", phase, err)
		}
	}
}

// Once part 0 has cut over, no history fills what the mirror of another part gives up: waiting does not help.
func TestCutDoesNotWaitInVain(t *testing.T) {
	c := &Changes{cfg: Config{Across: Across{Parts: 2, Name: func(int) string { return "n" }}}}
	was, is := reshard.Spread{{Name: "a", Weight: 1}}, reshard.Spread{{Name: "b", Weight: 1}}
	shards := map[string]string{"a": "http://a", "b": "http://b"}
	for first, want := range map[reshard.ChangePhase]int{reshard.Dual: notYetStatus, reshard.Cut: http.StatusConflict} {
		all := []*partStand{
			{Stand: reshard.Stand{ID: "r-1", Phase: first, Old: was, New: is, Move: &reshard.Move{}}, Shards: shards},
			{Stand: reshard.Stand{ID: "r-1", Phase: reshard.Dual, Old: was, New: is, Move: &reshard.Move{}, Unready: "the mirror gave up rows", LetGo: []string{"2026-01-01"}}, Shards: shards},
		}
		if _, err := c.cutAll(t.Context(), nil, &ChangeRequest{}, all); err == nil || statusFor(err) != want {
			t.Errorf("part 0 in %s: %v", first, err)
		}
	}
}
