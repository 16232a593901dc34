package ops

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"pingline"
)

// selfEvery is how often a node writes about itself.
const selfEvery = 10 * time.Second

// Self writes points about this node into the log: counters since the start of
// the process, and the present state. A point that cannot be written is
// counted; nothing is lost by it, since the next has the same counters.
type Self struct {
	Node    string // its name
	Parts   *Parts
	Metrics *Metrics
	Submit  func(context.Context, []pingline.Entry) error // makes points durable
}

// Run writes until ctx is cancelled, and once more then.
func (s *Self) Run(ctx context.Context) error {
	tick := time.NewTicker(selfEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		now := s.Parts.snapshot(s.Metrics)
		now.recent = s.Metrics.recent.take()
		points := now.points(s.Node, time.Now().UnixMilli())
		if s.Parts.Overload.Policy().NoSelf || s.Submit(ctx, points) != nil {
			s.Metrics.skipped.Add(uint64(len(points)))
		}
	}
	return nil
}

// points are the numbers that have a field, of a node and a time in ms: a point for
// each set of tags, in the order of numbers.
func (s *snapshot) points(node string, at int64) (list []pingline.Entry) {
	known := map[string]*pingline.Point{} // by name and tags
	for i := range numbers {
		n := &numbers[i]
		if n.field == "" {
			continue
		}
		n.read(s, func(v float64, labels ...string) {
			field, tags := n.place(node, labels)
			key := n.point
			for _, t := range tags {
				key += "\x00" + t.Value
			}
			p := known[key]
			if p == nil {
				p = &pingline.Point{Name: n.point, Tags: tags, At: at}
				known[key] = p
				list = append(list, pingline.Entry{Kind: pingline.Self, Point: p})
			}
			p.Fields = append(p.Fields, n.value(field, v))
		})
	}
	return list
}

// place returns the name of a value's field, and the tags of its point in ascending
// order of key.
func (n *number) place(node string, labels []string) (field string, tags []pingline.Tag) {
	field, tags = n.field, []pingline.Tag{{Key: "node", Value: node}}
	for i, label := range n.labels {
		switch {
		case n.field == "{"+label+"}":
			field = labels[i]
		case n.count != "":
			tags = append(tags, pingline.Tag{Key: "kind", Value: n.count}, pingline.Tag{Key: "reason", Value: labels[i]})
		default:
			tags = append(tags, pingline.Tag{Key: label, Value: labels[i]})
		}
	}
	slices.SortFunc(tags, func(a, b pingline.Tag) int { return cmp.Compare(a.Key, b.Key) })
	return field, tags
}

// value returns a field: an integer, or a number with three decimals if its name
// ends in a unit of time or says that it is a share.
func (n *number) value(field string, v float64) pingline.PointField {
	if n.isFloat() {
		return pingline.Float(field, math.Round(v*1000)/1000)
	}
	return pingline.Int(field, int64(v))
}

func (n *number) isFloat() bool {
	return strings.HasSuffix(n.field, "_s") || strings.HasSuffix(n.field, "_ms") || strings.HasSuffix(n.field, "_share")
}
