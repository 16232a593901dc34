package query

import (
	"fmt"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// A page that takes what waits, too, ends where the next one begins.
func TestPageTakesWhatWaits(t *testing.T) {
	at := func(times ...int64) (list []pingline.Entry) {
		for _, ms := range times {
			list = append(list, pingline.Entry{Ping: pingline.Ping{Fix: pingline.Fix{At: ms}}})
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		stored  Points
		waiting []pingline.Entry
		q       store.Query
		want    string // times, next
	}{
		{"nothing stored", Points{}, at(5, 6), store.Query{To: 9, Limit: 5}, "5 6 0.0"},
		{"nothing waits", Points{List: at(5, 6)}, nil, store.Query{To: 9, Limit: 5}, "5 6 0.0"},
		{"stored by now", Points{List: at(5, 6)}, at(5, 6, 7), store.Query{To: 9, Limit: 5}, "5 6 7 0.0"},
		{"between", Points{List: at(5, 8)}, at(6), store.Query{To: 9, Limit: 5}, "5 6 8 0.0"},
		{"beyond the limit", Points{List: at(5, 8)}, at(6, 7), store.Query{To: 9, Limit: 3}, "5 6 7 8.0"},
		{"beyond the limit of a page that has more", Points{List: at(5, 8), More: true, Next: 9}, at(6, 7), store.Query{To: 99, Limit: 2}, "5 6 7.0"},
		{"within the limit of a page that has more", Points{List: at(5, 8), More: true, Next: 9}, at(6, 9), store.Query{To: 99, Limit: 3}, "5 6 8 9.0"},
		{"behind a page that has more", Points{List: at(5, 8), More: true, Next: 9}, at(9, 10), store.Query{To: 99, Limit: 2}, "5 8 9.0"},
		{"in the ms within which a page ends", Points{List: at(5, 9), More: true, Next: 9, NextNano: 7}, at(9, 10), store.Query{To: 99, Limit: 2}, "5 9 9.7"},
		{"not again on the page that begins within a ms", Points{List: at(9, 9)}, at(9, 10), store.Query{From: 9, FromNano: 7, To: 99, Limit: 9}, "9 9 10 0.0"},
		{"an instant stays whole", Points{List: at(5)}, at(6, 6, 6, 7), store.Query{To: 99, Limit: 2}, "5 6 6 6 7.0"},
		{"to", Points{}, at(5, 6), store.Query{To: 6, Limit: 5}, "5 0.0"},
	} {
		p := withWaiting(tt.stored, tt.waiting, &tt.q)
		got := ""
		for _, e := range p.List {
			got += fmt.Sprint(e.At, " ")
		}
		if got += fmt.Sprintf("%d.%d", p.Next, p.NextNano); got != tt.want || p.More != (p.Next != 0) {
			t.Errorf("%s: %s, more %v; want %s", tt.name, got, p.More, tt.want)
		}
	}
	late := at(6)
	late[0].Late = true
	if p := withWaiting(Points{List: late}, at(6), &store.Query{To: 9, Limit: 5}); len(p.List) != 2 || p.List[0].Late || !p.List[1].Late {
		t.Errorf("beside a late one: %+v", p.List)
	}
}
