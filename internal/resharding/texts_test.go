package resharding

import (
	"slices"
	"strings"
	"testing"

	"pingline/sink"
)

// A shard that is known is not taken for another at another address: rows would go to the old place, and a node
// that is started later would open the new.
func TestAddressOfAKnownShard(t *testing.T) {
	where := func(name string) string { return map[string]string{"c": "http://c"}[name] }
	place := func(text string) (string, error) { return keyIn(text, "url"), nil }
	known := []sink.ShardStore{{Name: "c"}}
	r, err := localized(&ChangeRequest{Add: []string{"name=c,url=http://c,weight=2", "name=d,url=http://d"}, Replace: []string{"a=c"}}, known, where, place)
	if err != nil || !slices.Equal(r.Add, []string{"name=c,weight=2", "name=d,url=http://d"}) || !slices.Equal(r.Replace, []string{"a=c"}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, r := range []ChangeRequest{{Add: []string{"name=c,url=http://other"}}, {Replace: []string{"a=name=c,url=http://other"}}} {
		if _, err := localized(&r, known, where, place); err == nil || !strings.Contains(err.Error(), "shard c is known, at http://c, and not at http://other") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
