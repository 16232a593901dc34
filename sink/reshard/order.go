package reshard

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"pingline/partition"
)

// Order is an order to change the shards of a set.
type Order struct {
	Add     []partition.Shard  `json:"add,omitempty"`
	Remove  []string           `json:"remove,omitempty"`
	Weight  map[string]float64 `json:"weight,omitempty"`
	Replace map[string]string  `json:"replace,omitempty"` // old name to new name
}

// mirrored reports whether shards lose what they have: then both layouts are written for a
// while.
func (o *Order) mirrored() bool { return len(o.Remove)+len(o.Replace) > 0 }

func (o *Order) String() string {
	var parts []string
	for _, sh := range o.Add {
		parts = append(parts, "add "+sh.Name)
	}
	for _, name := range o.Remove {
		parts = append(parts, "remove "+name)
	}
	for _, name := range sortedKeys(o.Replace) {
		parts = append(parts, fmt.Sprintf("replace %s by %s", name, o.Replace[name]))
	}
	for _, name := range sortedKeys(o.Weight) {
		parts = append(parts, fmt.Sprintf("weight of %s %v", name, o.Weight[name]))
	}
	return strings.Join(parts, ", ")
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// apply returns the layout after an order, or an error that says which part of it is wrong.
func (o *Order) apply(was Spread) (Spread, error) {
	now := slices.Clone(was)
	at := func(name string) int {
		return slices.IndexFunc(now, func(s partition.Shard) bool { return s.Name == name })
	}
	for _, name := range sortedKeys(o.Weight) {
		i, w := at(name), o.Weight[name]
		switch {
		case i < 0:
			return nil, fmt.Errorf("weight: %s is not in force: %s are", name, strings.Join(was.Names(), ", "))
		case !(w >= partition.MinWeight && w <= partition.MaxWeight) || math.IsInf(w, 0):
			return nil, fmt.Errorf("weight: %s=%v is not in [%v, %v]", name, w, partition.MinWeight, partition.MaxWeight)
		}
		now[i].Weight = w
	}
	for _, name := range sortedKeys(o.Replace) {
		i, by := at(name), o.Replace[name]
		switch {
		case i < 0:
			return nil, fmt.Errorf("replace: %s is not in force: %s are", name, strings.Join(was.Names(), ", "))
		case at(by) >= 0:
			return nil, fmt.Errorf("replace: %s is in force already", by)
		}
		now[i].Name = by
	}
	for _, name := range o.Remove {
		i := at(name)
		if i < 0 {
			return nil, fmt.Errorf("remove: %s is not in force: %s are", name, strings.Join(was.Names(), ", "))
		}
		now = slices.Delete(now, i, i+1)
	}
	for _, sh := range o.Add {
		if at(sh.Name) >= 0 {
			return nil, fmt.Errorf("add: %s is in force already", sh.Name)
		}
		now = append(now, sh)
	}
	switch {
	case len(now) == 0:
		return nil, fmt.Errorf("remove: no shard would be left")
	case slices.Equal(now, was):
		return nil, fmt.Errorf("nothing would change: %s", was)
	}
	if _, err := partition.NewShards(now...); err != nil {
		return nil, err
	}
	return now, nil
}

// movedOf is how many keys Moved looks at if no cell is known.
const movedOf = 1 << 14

// Moved returns of how many keys the shard changes between two layouts, and of how many keys
// it looked at: those of the cells, or if there are none, of arbitrary ones.
func Moved(was, now Spread, cells []uint64) (moved, of int, err error) {
	a, err := partition.NewShards(was...)
	if err != nil {
		return 0, 0, err
	}
	b, err := partition.NewShards(now...)
	if err != nil {
		return 0, 0, err
	}
	count := func(key partition.Key) {
		of++
		if a.At(a.OfKey(key)).Name != b.At(b.OfKey(key)).Name {
			moved++
		}
	}
	for _, cell := range cells {
		count(partition.CellKey(cell, 0))
	}
	for i := 0; len(cells) == 0 && i < movedOf; i++ {
		count(partition.CellKey(uint64(i)+1, 0))
	}
	return moved, of, nil
}
