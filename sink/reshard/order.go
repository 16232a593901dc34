package reshard

import (
	"cmp"
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
	Move    *Move              `json:"move,omitempty"`    // nil: history stays where it is
	ID      string             `json:"id,omitempty"`      // of the change; "" is the next
}

// Move asks for history to be moved to where a new layout has it. Whoever moves it follows
// [Eras.Record].
type Move struct {
	Rate  float64 `json:"rate"`            // most rows a second; 0: as fast as the stores are
	Clean bool    `json:"clean,omitempty"` // the change was aborted, and rows that were copied are to be deleted
}

// mirrored reports whether shards lose what they have: then both layouts are written for a
// while.
func (o *Order) mirrored() bool { return len(o.Remove)+len(o.Replace) > 0 || o.Move != nil }

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

// apply returns the layout after an order, or an error that says which part of it is wrong.
func (o *Order) apply(was Spread) (Spread, error) {
	if err := o.check(was); err != nil {
		return nil, err
	}
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
		i := at(name)
		if i < 0 {
			return nil, fmt.Errorf("replace: %s is not in force: %s are", name, strings.Join(was.Names(), ", "))
		}
		now[i].Name = o.Replace[name]
	}
	for _, name := range o.Remove {
		i := at(name)
		now = slices.Delete(now, i, i+1)
	}
	for _, sh := range o.Add {
		now = append(now, partition.Shard{Name: sh.Name, Weight: cmp.Or(sh.Weight, 1)})
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

// check returns an error if an order names a shard twice: as one that goes, or as one that comes.
func (o *Order) check(was Spread) error {
	gone := make(map[string]string)
	goes := func(what, name string) error {
		if other, twice := gone[name]; twice {
			return fmt.Errorf("%s: %s is named in %s, too: name it once", what, name, other)
		}
		gone[name] = what
		return nil
	}
	for _, name := range sortedKeys(o.Replace) {
		if err := goes("replace", name); err != nil {
			return err
		}
	}
	for _, name := range o.Remove {
		if !slices.Contains(was.Names(), name) {
			return fmt.Errorf("remove: %s is not in force: %s are", name, strings.Join(was.Names(), ", "))
		}
		if _, weighed := o.Weight[name]; weighed {
			return fmt.Errorf("remove: %s is named in weight, too: name it once", name)
		}
		if err := goes("remove", name); err != nil {
			return err
		}
	}
	come := make(map[string]bool)
	comes := func(what, name string) error {
		switch _, goes := gone[name]; {
		case goes:
			return fmt.Errorf("%s: %s goes by the same order: give it another weight by weight, or make two changes", what, name)
		case come[name]:
			return fmt.Errorf("%s: %s is named twice", what, name)
		case slices.Contains(was.Names(), name):
			return fmt.Errorf("%s: %s is in force already", what, name)
		}
		come[name] = true
		return nil
	}
	for _, name := range sortedKeys(o.Replace) {
		if err := comes("replace", o.Replace[name]); err != nil {
			return err
		}
	}
	for _, sh := range o.Add {
		if err := comes("add", sh.Name); err != nil {
			return err
		}
	}
	return nil
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
