package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pingline/partition"
)

// Layout is all that decides which lane an entry belongs to.
type Layout struct {
	Shards []string          // names
	Spread *partition.Shards // the first of Shards, over which pings are spread; nil sends all to the first
	Routes map[string]int    // index of a shard, by an element of routeNames; without a route pings are spread, and our own lines go to the first shard

	// Where there are several sets of shards, each with a layout of its own:
	Set    string   // name of this one; "" is the first, which gets what is put back and names no shard
	Others []string // shards of all other sets
	Nobody int      // index of the shard that stands for them, and gets what is theirs; 0 if there is no other set

	// Where the shards of a set change while it runs, it has several layouts, each for a part
	// of the log:
	Era    string  // part of the names of cursors, after EraSep; "" for the first
	Beside *Layout // if set, this one mirrors it: only what that one has elsewhere is written, the rest is Nobody's
}

// EraSep stands between the name of a set and that of an era. No name has it.
const EraSep = "+"

// Space is the name under which positions are kept: that of the set, and the era.
func (l *Layout) Space() string { return SpaceOf(l.Set, l.Era) }

// SpaceOf is the name under which the positions of an era of a set, "" for the first, are kept.
func SpaceOf(set, era string) string {
	if era == "" {
		return set
	}
	return cmp.Or(set, "main") + EraSep + era
}

// Qualified returns the name of a shard, unique over all sets.
func (l *Layout) Qualified(shard int) string {
	space := l.Space()
	if space == "" {
		return l.Shards[shard]
	}
	return space + SetSep + l.Shards[shard]
}

// SetSep stands between the name of a set and that of a shard. No name has it.
const SetSep = "/"

// Nobody is the name of the shard that Layout.Nobody is the index of.
const Nobody = "~"

// Check returns an error if spread or a route does not fit the shards.
func (l *Layout) Check() error {
	if l.Over() > len(l.Shards) {
		return fmt.Errorf("pings are spread over %d shards, of which %d are known", l.Over(), len(l.Shards))
	}
	for i := range l.Over() {
		if l.Spread != nil && l.Spread.At(i).Name != l.Shards[i] {
			return fmt.Errorf("shard %d is %q, but pings are spread to %q", i, l.Shards[i], l.Spread.At(i).Name)
		}
	}
	if l.Beside != nil && l.Nobody == 0 {
		return fmt.Errorf("a layout beside another has no shard %q", Nobody)
	}
	for name, i := range l.Routes {
		if !slices.Contains(routeNames[:], name) {
			return fmt.Errorf("route of %q: the names of routes are %q", name, routeNames)
		}
		if i < 0 || i >= len(l.Shards) {
			return fmt.Errorf("route of %q leads to shard %d of %d", name, i, len(l.Shards))
		}
	}
	return nil
}

// Over returns over how many shards pings are spread.
func (l *Layout) Over() int {
	if l.Spread == nil {
		return 1
	}
	return l.Spread.Len()
}

// String returns the layout as a text: saved cursors are valid only with the
// layout under which they were saved.
func (l *Layout) String() string {
	var b strings.Builder
	b.WriteString("1 shards")
	for i, name := range l.Shards {
		switch {
		case i >= l.Over():
			fmt.Fprintf(&b, " (%s)", name)
		case l.Spread == nil:
			fmt.Fprintf(&b, " %s", name)
		default:
			fmt.Fprintf(&b, " %s=%v", name, l.Spread.At(i).Weight)
		}
	}
	for _, name := range routeNames {
		if to, ok := l.Routes[name]; ok {
			fmt.Fprintf(&b, " %s:%s", name, l.Shards[to])
		}
	}
	if l.Beside != nil {
		fmt.Fprintf(&b, " (beside %s)", strings.TrimPrefix(l.Beside.String(), "1 shards "))
	}
	return b.String()
}

// PingShards returns the shards that get pings, from the text of a layout.
func PingShards(layout string) (names []string) {
	for part := range strings.FieldsSeq(strings.TrimPrefix(layout, "1 shards")) {
		name, _, spread := strings.Cut(part, "=")
		route, to, routed := strings.Cut(part, ":")
		switch {
		case strings.HasPrefix(part, "("), to == Nobody: // a shard that only routes lead to, or none
		case !spread && routed && (route == routeNames[Location] || route == routeNames[Event]):
			names = append(names, to)
		case !spread && routed && slices.Contains(routeNames[:], route):
		default:
			names = append(names, name)
		}
	}
	return names
}
