package peers

import (
	"slices"
	"testing"
)

func TestNodesOfDifferentVersions(t *testing.T) {
	is := func(node, version string) PartState {
		return PartState{Node: node, Owner: &OwnerState{Version: version}}
	}
	silent := PartState{Node: "s"}
	for _, c := range []struct {
		list []PartState
		want []string
	}{
		{nil, nil},
		{[]PartState{is("a", "1.4.0"), silent, is("b", "1.4.0")}, nil},
		{[]PartState{is("b", "1.5.0"), is("a", "1.4.0"), silent, is("c", "1.5.0")}, []string{"nodes are of different versions: 1.4.0 at a; 1.5.0 at b, c"}},
	} {
		if got := mixed(c.list); !slices.Equal(got, c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

func TestClocksApart(t *testing.T) {
	for _, c := range []struct {
		least, most int64
		want        string
	}{
		{-3, 4, ""},
		{999, 1100, ""},
		{1200, 1207, "1.2 s ahead of ours"},
		{-61_000, -60_000, "60.0 s behind ours"},
		{-60_000, 5, ""}, // we were suspended
	} {
		if got := apart(c.least, c.most); got != c.want {
			t.Errorf("[%d, %d] ms: %q, want %q", c.least, c.most, got, c.want)
		}
	}
}
