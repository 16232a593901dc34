package query

import "pingline/partition"

// Weigh sets the share of each shard of a set in the set's points; keys are spread over the
// first of them. If asked, it sets the imbalance of p: how far the fullest of those is above
// the mean, in points for its weight. 1 is in balance, 0 means no points.
func (p *Partitions) Weigh(set []ShardShare, over *partition.Shards, asked bool) {
	var total uint64
	var sum, most float64
	for i, shard := range set {
		if total += shard.Points; i < over.Len() {
			points := float64(shard.Points) / over.At(i).Weight
			sum, most = sum+points, max(most, points)
		}
	}
	for i := range set {
		set[i].Share = float64(set[i].Points) / float64(max(total, 1))
	}
	if asked && sum > 0 {
		p.Imbalance = most * float64(over.Len()) / sum
	}
}
