package resharding

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pingline/partition"
	"pingline/sink"
	"pingline/sink/reshard"
)

// localized returns a request without the addresses of shards that are known here. It refuses an
// address which is not that of the shard.
func localized(r *ChangeRequest, known []sink.ShardStore, where func(name string) string, place func(text string) (string, error)) (*ChangeRequest, error) {
	for name, text := range textsOf(r) {
		if !slices.ContainsFunc(known, func(s sink.ShardStore) bool { return s.Name == name }) {
			continue
		}
		at, err := place(text)
		if err != nil {
			return nil, &reshard.RefusedError{Why: err.Error()}
		}
		if is := where(name); is != at {
			return nil, &reshard.RefusedError{Why: fmt.Sprintf("shard %s is known, at %s, and not at %s: leave its url out, or give the new shard another name", name, is, at)}
		}
	}
	short := func(text string) string {
		name := nameIn(text)
		if !slices.ContainsFunc(known, func(s sink.ShardStore) bool { return s.Name == name }) || !strings.Contains(text, "=") {
			return text
		}
		if w := keyIn(text, "weight"); w != "" {
			return "name=" + name + ",weight=" + w
		}
		return name
	}
	l := *r
	l.Add, l.Replace = nil, nil
	for _, text := range r.Add {
		l.Add = append(l.Add, short(text))
	}
	for _, text := range r.Replace {
		old, by, _ := strings.Cut(text, "=")
		l.Replace = append(l.Replace, old+"="+short(by))
	}
	return &l, nil
}

// textsOf returns how to open the shards of a request that have an address there.
func textsOf(r *ChangeRequest) map[string]string {
	texts := make(map[string]string)
	take := func(text string) {
		if strings.Contains(text, "url=") {
			texts[nameIn(text)] = text
		}
	}
	for _, text := range r.Add {
		take(text)
	}
	for _, text := range r.Replace {
		_, by, _ := strings.Cut(text, "=")
		take(by)
	}
	return texts
}

func before(text, sep string) string {
	head, _, _ := strings.Cut(text, sep)
	return head
}

// doing says in words what a request asks for, as its change does.
func doing(r *ChangeRequest) string {
	o := reshard.Order{Remove: r.Remove, Weight: map[string]float64{}, Replace: map[string]string{}}
	for _, text := range r.Add {
		o.Add = append(o.Add, shardNamed(text))
	}
	for _, text := range r.Replace {
		old, by, _ := strings.Cut(text, "=")
		o.Replace[old] = shardNamed(by).Name
	}
	for _, text := range r.Weight {
		name, value, _ := strings.Cut(text, "=")
		w, _ := weightIn("weight=" + value) // a wrong one is no change's
		o.Weight[name] = w
	}
	return o.String()
}

// shardNamed is the shard of a text, which is a name or name=…,….
func shardNamed(text string) partition.Shard {
	if !strings.Contains(text, "=") {
		return partition.Shard{Name: text}
	}
	return partition.Shard{Name: nameIn(text)}
}

// nameIn returns the name in the text of a shard.
func nameIn(text string) string { return keyIn(text, "name") }

// weightIn returns the weight in the text of a shard, 1 if there is none.
func weightIn(text string) (float64, error) {
	value := keyIn(text, "weight")
	if value == "" {
		return 1, nil
	}
	w, err := strconv.ParseFloat(value, 64)
	if err != nil || !(w >= partition.MinWeight && w <= partition.MaxWeight) {
		return 0, fmt.Errorf("weight: %q is no number in [%v, %v]", value, partition.MinWeight, partition.MaxWeight)
	}
	return w, nil
}

func keyIn(text, key string) string {
	for part := range strings.SplitSeq(text, ",") {
		if k, v, _ := strings.Cut(part, "="); k == key {
			return v
		}
	}
	return ""
}
