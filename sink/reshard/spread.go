package reshard

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"pingline/partition"
)

// Spread is the shards that rows are spread over, in order.
type Spread []partition.Shard

// Names returns the names of the shards.
func (s Spread) Names() (names []string) {
	for _, sh := range s {
		names = append(names, sh.Name)
	}
	return names
}

func (s Spread) String() string {
	var parts []string
	for _, sh := range s {
		parts = append(parts, sh.Name+"="+strconv.FormatFloat(cmp.Or(sh.Weight, 1), 'g', -1, 64))
	}
	return strings.Join(parts, " ")
}

// addNames adds names that are not there.
func addNames(list []string, names ...string) []string {
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
