package peers

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pingline/internal/parts"
	"pingline/partition"
	"pingline/queue"
)

// A node that is gone is named to nobody as the one that has a part, and operators are told.
func TestPartWithoutNode(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	list := []parts.PartOwner{{Part: 0, Node: "a", Addr: "a:1", Since: since}, {Part: 1, Node: "b", Addr: "b:1", Since: since}}
	p := &Peers{cfg: Config{Sharing: Sharing{Parts: 2}, Queue: queue.Config{Node: "a"}}, addr: "a:1"}
	p.view.Store(&outlook{owners: func() []parts.PartOwner { return list }})
	rider := "r"
	for partition.Part(rider, 2) != 1 {
		rider += "r"
	}
	for _, c := range []struct {
		free            bool
		why, note, told string
	}{
		{false, "the rider is of part 1: ask node b", "", `{"part":1,"node":"b","peer":"b:1","since":"2026-01-02T03:04:05Z","own":false}`},
		{true, "the rider is of part 1, which has no node now", "part 1 has no node: requests with its riders get 503", `{"part":1,"node":"","peer":"","own":false}`},
	} {
		list[1].Free = c.free
		if got := p.Elsewhere(rider); got != c.why {
			t.Errorf("free %v: a removal is answered %q, want %q", c.free, got, c.why)
		}
		if got := strings.Join(p.Notes(), "; "); got != c.note {
			t.Errorf("free %v: noted is %q, want %q", c.free, got, c.note)
		}
		w := httptest.NewRecorder()
		p.tell(w, nil)
		if got := w.Body.String(); !strings.Contains(got, c.told) || !strings.Contains(got, `{"part":0,"node":"a","peer":"a:1","since":"2026-01-02T03:04:05Z","own":true}`) {
			t.Errorf("free %v: told is %s, want %s", c.free, got, c.told)
		}
	}
}

// By default a node has the name of its host: that two processes there need two names is told.
func TestNamesakes(t *testing.T) {
	list := []parts.PartOwner{{Part: 0, Node: "a"}, {Part: 1, Node: "a"}, {Part: 2, Node: "b"}, {Part: 3, Node: "a", Free: true}}
	p := &Peers{cfg: Config{Sharing: Sharing{Parts: 4}, Queue: queue.Config{Node: "a"}}}
	p.view.Store(&outlook{owners: func() []parts.PartOwner { return list }})
	want := "part 3 has no node: requests with its riders get 503; --node: the node of part 1 is called a, too: "
	if got := strings.Join(p.Notes(), "; "); !strings.HasPrefix(got, want) {
		t.Errorf("noted is %q, want %q", got, want)
	}
	list[1].Node, list[3].Free, list[3].Node = "c", false, "d"
	if got := p.Notes(); len(got) > 0 {
		t.Errorf("each has its name, and noted is %q", got)
	}
}
