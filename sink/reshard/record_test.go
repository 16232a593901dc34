package reshard

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"pingline/partition"
	"pingline/queue"
)

func FuzzParse(f *testing.F) {
	r := &SetRecord{Form: 1, ID: "r-1", Phase: Dual, Do: "remove a", Old: Spread{{Name: "a", Weight: 1}}, New: Spread{{Name: "b", Weight: 2}}}
	r.begin(r.Old, nil, queue.Cursor{})
	r.begin(r.New, r.Old, queue.Cursor{Next: 7})
	f.Add(r.String())
	f.Add(`{"form":2}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, note string) {
		r, err := parse(note)
		if err != nil {
			return
		}
		again, err := parse(r.String())
		if err != nil || !reflect.DeepEqual(again.InForce(), r.InForce()) {
			t.Errorf("%s: %v", r, err)
		}
		r.needs()
	})
}

func TestOrder(t *testing.T) {
	a, b, c := partition.Shard{Name: "a", Weight: 1}, partition.Shard{Name: "b", Weight: 1}, partition.Shard{Name: "c", Weight: 2}
	was := Spread{a, b}
	for _, tt := range []struct {
		name  string
		order Order
		want  string // the layout, or a part of the error
	}{
		{"add", Order{Add: []partition.Shard{c}}, "a=1 b=1 c=2"},
		{"remove", Order{Remove: []string{"a"}}, "b=1"},
		{"a replacement keeps its place and weight", Order{Replace: map[string]string{"a": "d"}}, "d=1 b=1"},
		{"weight", Order{Weight: map[string]float64{"b": 3}}, "a=1 b=3"},
		{"add twice", Order{Add: []partition.Shard{a}}, "add: a is in force already"},
		{"remove all", Order{Remove: []string{"a", "b"}}, "no shard would be left"},
		{"remove another", Order{Remove: []string{"x"}}, "remove: x is not in force: a, b are"},
		{"no weight", Order{Weight: map[string]float64{"b": math.NaN()}}, "weight: b=NaN is not in"},
		{"weight of another", Order{Weight: map[string]float64{"x": 1}}, "weight: x is not in force"},
		{"replace by one in force", Order{Replace: map[string]string{"a": "b"}}, "replace: b is in force already"},
		{"the same one added twice", Order{Add: []partition.Shard{c, c}}, "add: c is named twice"},
		{"added and removed", Order{Add: []partition.Shard{a}, Remove: []string{"a"}}, "add: a goes by the same order"},
		{"removed twice", Order{Remove: []string{"a", "a"}}, "remove: a is named in remove, too"},
		{"removed and replaced", Order{Remove: []string{"a"}, Replace: map[string]string{"a": "c"}}, "remove: a is named in replace, too"},
		{"removed and weighed", Order{Remove: []string{"a"}, Weight: map[string]float64{"a": 2}}, "remove: a is named in weight, too"},
		{"replaced by itself", Order{Replace: map[string]string{"a": "a"}}, "replace: a goes by the same order"},
		{"two replaced by one", Order{Replace: map[string]string{"a": "c", "b": "c"}}, "replace: c is named twice"},
		{"replaced by each other", Order{Replace: map[string]string{"a": "b", "b": "a"}}, "replace: b goes by the same order"},
		{"the new one of a replacement removed", Order{Replace: map[string]string{"a": "c"}, Remove: []string{"c"}}, "remove: c is not in force"},
		{"the new one of a replacement added", Order{Replace: map[string]string{"a": "c"}, Add: []partition.Shard{c}}, "add: c is named twice"},
		{"added with the weight 0, which is 1", Order{Add: []partition.Shard{{Name: "c"}}}, "a=1 b=1 c=1"},
		{"added with too much weight", Order{Add: []partition.Shard{{Name: "c", Weight: 2e3}}}, "weight 2000 not in"},
		{"nothing", Order{Weight: map[string]float64{"b": 1}}, "nothing would change"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.order.apply(was)
			text := got.String()
			if err != nil {
				text = err.Error()
			}
			for _, sh := range got {
				if sh.Weight == 0 {
					t.Errorf("%v: the weight of %s is not told", tt.order, sh.Name)
				}
			}
			if !strings.Contains(text, tt.want) {
				t.Errorf("%v: %s, want %s", tt.order, text, tt.want)
			}
		})
	}
	if moved, of, err := Moved(was, Spread{a, b, c}, nil); err != nil || moved < of*45/100 || moved > of*55/100 {
		t.Errorf("a shard of the weight of both others moves %d of %d keys, %v", moved, of, err)
	}
}
