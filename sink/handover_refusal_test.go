package sink

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"pingline/sink/store"
)

// A shard that stands in refuses all rows that it is given. The rows of the batch
// that others stand in for are taken there, and no dead letters.
func TestAStandInRefusesItsRowsOnly(t *testing.T) {
	dead, c := recording(t, func([]string) int { return http.StatusServiceUnavailable }), recording(t, nil)
	b := script(t, func(rw http.ResponseWriter, lines []string) {
		rw.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintf(rw, `{"message":"partial write: other reasons dropped=%d"}`, len(lines))
	})
	w := testLog(t)
	s := testSink(t, w, nil, handing(t, ShardStore{Name: "a", Store: dead.Bucket}, ShardStore{Name: "b", Store: b}, ShardStore{Name: "c", Store: c.Bucket}))
	start(t, s)
	all := homeOf(s, fleet(1, 800), 0)
	var refused, good []string
	for _, e := range all {
		line := string(appendLine(nil, &e))
		if s.cfg.Spread.Order(nil, &e)[1] == 1 {
			refused = append(refused, line)
		} else {
			good = append(good, line)
		}
	}
	w.commit(all...)
	drained(t, s)
	balanced(t, s, w)
	slices.Sort(good)
	sameLines(t, slices.Compact(c.taken()), good)
	var letters []string
	for _, l := range deadLettersOf(t, s) {
		letters = append(letters, rowOf(l))
	}
	slices.Sort(letters)
	slices.Sort(refused)
	sameLines(t, letters, refused)
}

// Suspects of a write of some rows are the same rows among all.
func TestSuspectsOfAPart(t *testing.T) {
	rows, some := []int{2, 3, 5, 7, 11}, []int{3, 7, 11}
	for _, tt := range []struct {
		name string
		err  store.Refusal
		want []int
	}{
		{"none", store.Refusal{Kind: store.BadRows}, nil},
		{"two", store.Refusal{Kind: store.BadRows, Suspects: []int{0, 2}}, []int{1, 4}},
		{"all", store.Refusal{Kind: store.BadRows, All: true}, []int{1, 3, 4}},
		{"some that were not written", store.Refusal{Kind: store.BadRows, Suspects: []int{1, 3}}, []int{3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := new(shardRefusal)
			if !errors.As(among(&shardRefusal{Refusal: &tt.err, err: errors.New("no")}, rows, some), &got) || got.All || !slices.Equal(got.Suspects, tt.want) {
				t.Errorf("%+v, want suspects %v", got.Refusal, tt.want)
			}
		})
	}
}
