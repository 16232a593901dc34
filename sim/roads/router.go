package roads

import "math"

// router finds the shortest ways from a vertex: Dijkstra's algorithm. It is used by one
// goroutine.
type router struct {
	net     *Network
	open    edgeFlags // edges of another kind are closed
	byTime  bool      // the shortest way takes the least time, or else the fewest metres
	cost    []float32 // to come to a vertex; +Inf before it is reached
	by      []uint32  // the edge by which, and the vertex
	from    []uint32
	reached []uint32
	queue   queueOfVertices
}

func newRouter(n *Network, open edgeFlags) *router {
	r := &router{net: n, open: open, byTime: open == drivable}
	r.cost = make([]float32, len(n.at))
	for v := range r.cost {
		r.cost[v] = float32(math.Inf(1))
	}
	r.by, r.from = make([]uint32, len(n.at)), make([]uint32, len(n.at))
	return r
}

// spread goes from a vertex in all directions until all of goals are reached, and not
// beyond limit. It returns the vertices reached, nearest first: valid until the next call.
func (r *router) spread(start uint32, limit float32, goals []uint32) []uint32 {
	for _, v := range r.reached {
		r.cost[v] = float32(math.Inf(1))
	}
	for _, q := range r.queue {
		r.cost[q.vertex] = float32(math.Inf(1))
	}
	r.reached, r.queue = r.reached[:0], r.queue[:0]
	missing := len(goals)
	r.cost[start] = 0
	r.queue.push(queued{0, start})
	for len(r.queue) > 0 {
		q := r.queue.pop()
		if q.cost > r.cost[q.vertex] {
			continue // a shorter way was found since
		}
		r.reached = append(r.reached, q.vertex)
		for _, goal := range goals {
			if goal == q.vertex {
				missing--
			}
		}
		if len(goals) > 0 && missing == 0 {
			break
		}
		for i := r.net.first[q.vertex]; i < r.net.first[q.vertex+1]; i++ {
			e := &r.net.edges[i]
			if e.flags&r.open == 0 {
				continue
			}
			cost := q.cost + e.length
			if r.byTime {
				cost = q.cost + e.length/float32(e.speed)
			}
			if cost < r.cost[e.to] && cost <= limit {
				r.cost[e.to], r.by[e.to], r.from[e.to] = cost, i, q.vertex
				r.queue.push(queued{cost, e.to})
			}
		}
	}
	return r.reached
}

// way returns the edges of the shortest way from the start of the last spread to a
// vertex, in order; nil if it was not reached.
func (r *router) way(start, goal uint32) (edges []uint32) {
	if math.IsInf(float64(r.cost[goal]), 1) {
		return nil
	}
	n := 0
	for v := goal; v != start; v = r.from[v] {
		n++
	}
	edges = make([]uint32, n)
	for v := goal; v != start; v = r.from[v] {
		n--
		edges[n] = r.by[v]
	}
	return edges
}

// queued is a vertex to go on from.
type queued struct {
	cost   float32
	vertex uint32
}

// queueOfVertices is a binary heap: the cheapest first, of equals the lowest vertex, so
// that a way does not depend on the order in which it was looked for.
type queueOfVertices []queued

func (a queued) before(b queued) bool {
	return a.cost < b.cost || a.cost == b.cost && a.vertex < b.vertex
}

func (h *queueOfVertices) push(q queued) {
	*h = append(*h, q)
	all := *h
	for i := len(all) - 1; i > 0; {
		up := (i - 1) / 2
		if !all[i].before(all[up]) {
			break
		}
		all[i], all[up] = all[up], all[i]
		i = up
	}
}

func (h *queueOfVertices) pop() queued {
	all := *h
	top := all[0]
	last := len(all) - 1
	all[0] = all[last]
	all = all[:last]
	*h = all
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && all[child+1].before(all[child]) {
			child++
		}
		if !all[child].before(all[i]) {
			return top
		}
		all[i], all[child] = all[child], all[i]
		i = child
	}
}

// core returns the vertices of the largest part of the network from each of which there
// is an open way to each other: one-way streets may lead out of it.
func (n *Network) core(open edgeFlags) []uint32 {
	const tries = 64
	var best []uint32
	seen := make([]bool, len(n.at))
	usable := 0
	for v := range n.at {
		if n.degree(uint32(v), open) > 0 {
			usable++
		}
	}
	for v, try := 0, 0; v < len(n.at) && try < tries && 2*len(best) < usable; v++ {
		if seen[v] || n.degree(uint32(v), open) == 0 {
			continue
		}
		try++
		there, back := n.reach(uint32(v), open, false), n.reach(uint32(v), open, true)
		var part []uint32
		for u := range n.at {
			if there[u] && back[u] {
				part = append(part, uint32(u))
				seen[u] = true
			}
		}
		if len(part) > len(best) {
			best = part
		}
	}
	return best
}

func (n *Network) degree(v uint32, open edgeFlags) (edges int) {
	for _, e := range n.edges[n.first[v]:n.first[v+1]] {
		if e.flags&open != 0 {
			edges++
		}
	}
	return edges
}

// reach returns which vertices an open way leads to from v, or from which one leads to v.
func (n *Network) reach(v uint32, open edgeFlags, backward bool) []bool {
	in := make([]bool, len(n.at))
	in[v] = true
	for next := []uint32{v}; len(next) > 0; {
		v := next[len(next)-1]
		next = next[:len(next)-1]
		for _, e := range n.edges[n.first[v]:n.first[v+1]] {
			if !in[e.to] && (backward && n.leads(e.to, v, open) || !backward && e.flags&open != 0) {
				in[e.to] = true
				next = append(next, e.to)
			}
		}
	}
	return in
}

// leads reports whether an open edge leads from a to b.
func (n *Network) leads(a, b uint32, open edgeFlags) bool {
	for _, e := range n.edges[n.first[a]:n.first[a+1]] {
		if e.to == b && e.flags&open != 0 {
			return true
		}
	}
	return false
}
