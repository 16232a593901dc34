package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Sizes, in units of the picture.
const (
	boxHeight = 30
	rowHeight = 74
	gap       = 18  // between boxes of a row
	letter    = 7.4 // width of a letter
	bend      = 8   // width of the gap in which a line passes a row
	margin    = 16
)

// node is a package in its row, or the gap in which a line passes a row.
type node struct {
	name     string // "" for a passing line
	row      int
	x, width float64 // x of its middle
	up, down []*node
}

// draw writes the picture.
func draw(w io.Writer, imports map[string][]string) {
	rows := arrange(reduce(imports))
	width := 0.0
	for _, row := range rows {
		last := row[len(row)-1]
		width = max(width, last.x+last.width/2+margin)
	}
	height := len(rows)*rowHeight - (rowHeight - boxHeight) + 2*margin
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="ui-monospace, monospace" font-size="12" role="img">
<title>The packages of Pingline: each stands above what it imports</title>
<style>
:root { --back: #fff; --text: #1f2328; --line: #8c959f; --box: #f6f8fa; --way: #ddf4ff; --mark: #0969da }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --line: #6e7681; --box: #161b22; --way: #0c2d6b; --mark: #58a6ff } }
.back { fill: var(--back) } .line { fill: none; stroke: var(--line) } text { fill: var(--text); text-anchor: middle }
rect.box { fill: var(--box); stroke: var(--line) } rect.way { fill: var(--way); stroke: var(--mark) } .contract { stroke-dasharray: 4 3 }
.number { fill: var(--mark) } .digit { fill: var(--back); font-weight: bold }
</style>
<rect class="back" width="100%%" height="100%%"/>
`, width, height)
	for _, row := range rows {
		for _, n := range row {
			for _, to := range n.down {
				x, y, x2, y2 := n.x, n.bottom(), to.x, to.top()
				fmt.Fprintf(w, `<path class="line" d="M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f"/>`+"\n", x, y, x, (y+y2)/2, x2, (y+y2)/2, x2, y2)
			}
			if n.name == "" {
				fmt.Fprintf(w, `<path class="line" d="M%.0f %.0f V%.0f"/>`+"\n", n.x, n.top(), n.bottom())
			}
		}
	}
	for _, row := range rows {
		for _, n := range row {
			if n.name != "" {
				n.draw(w)
			}
		}
	}
	fmt.Fprintln(w, "</svg>")
}

func (n *node) top() float64    { return float64(margin + n.row*rowHeight) }
func (n *node) bottom() float64 { return n.top() + boxHeight }

func (n *node) draw(w io.Writer) {
	class, step := "box", slices.Index(way, n.name)+1
	if step > 0 {
		class += " way"
	}
	if slices.Contains(contracts, n.name) {
		class += " contract"
	}
	fmt.Fprintf(w, `<rect class="%s" x="%.0f" y="%.0f" width="%.0f" height="%d" rx="5"/><text x="%.0f" y="%.0f">%s</text>`+"\n",
		class, n.x-n.width/2, n.top(), n.width, boxHeight, n.x, n.top()+19, n.name)
	if step > 0 {
		fmt.Fprintf(w, `<circle class="number" cx="%.0f" cy="%.0f" r="9"/><text class="digit" x="%.0f" y="%.0f">%d</text>`+"\n",
			n.x-n.width/2, n.top(), n.x-n.width/2, n.top()+4, step)
	}
}

// arrange puts each package into a row above all packages that it imports, the
// root into the lowest row, and finds an order for each row in which few lines
// cross.
func arrange(imports map[string][]string) [][]*node {
	depth := make(map[string]int)
	var measure func(name string) int
	measure = func(name string) int {
		if d, known := depth[name]; known {
			return d
		}
		d := 0
		for _, to := range imports[name] {
			d = max(d, measure(to)+1)
		}
		depth[name] = d
		return d
	}
	most := 0
	names := slices.Sorted(maps.Keys(imports))
	for _, name := range names {
		most = max(most, measure(name))
	}
	rows := make([][]*node, most+1)
	at := make(map[string]*node)
	put := func(n *node) *node {
		rows[n.row] = append(rows[n.row], n)
		return n
	}
	for _, name := range names {
		at[name] = put(&node{name: name, row: most - depth[name], width: float64(len(name))*letter + 24})
	}
	for _, name := range names {
		for _, to := range imports[name] {
			from := at[name]
			for from.row+1 < at[to].row {
				from = link(from, put(&node{row: from.row + 1, width: bend}))
			}
			link(from, at[to])
		}
	}
	for range 40 {
		for i := 1; i < len(rows); i++ {
			order(rows[i], func(n *node) []*node { return n.up })
		}
		for i := len(rows) - 2; i >= 0; i-- {
			order(rows[i], func(n *node) []*node { return n.down })
		}
	}
	for range 40 {
		for _, row := range rows {
			place(row)
		}
	}
	shift(rows)
	return rows
}

func link(from, to *node) *node {
	from.down, to.up = append(from.down, to), append(to.up, from)
	return to
}

// order sorts a row by the middle of each node's neighbours, and lays it out.
func order(row []*node, neighbours func(*node) []*node) {
	wish := make(map[*node]float64)
	for _, n := range row {
		wish[n] = middle(n, neighbours(n))
	}
	slices.SortStableFunc(row, func(a, b *node) int { return cmp.Compare(wish[a], wish[b]) })
	total := 0.0
	for _, n := range row {
		total += n.width + gap
	}
	x := -total / 2
	for _, n := range row {
		n.x = x + n.width/2
		x += n.width + gap
	}
}

func middle(n *node, of []*node) float64 {
	if len(of) == 0 {
		return n.x
	}
	sum := 0.0
	for _, o := range of {
		sum += o.x
	}
	return sum / float64(len(of))
}

// place moves each node of a row towards its neighbours above and below, as far
// as the rest of the row leaves room.
func place(row []*node) {
	for i, n := range row {
		x := middle(n, slices.Concat(n.up, n.down))
		if i > 0 {
			x = max(x, row[i-1].x+apart(row[i-1], n))
		}
		if i+1 < len(row) {
			x = min(x, row[i+1].x-apart(n, row[i+1]))
		}
		n.x = x
	}
}

func apart(a, b *node) float64 { return (a.width+b.width)/2 + gap }

// shift moves all rows so that the leftmost box begins at the margin.
func shift(rows [][]*node) {
	left := rows[0][0].x
	for _, row := range rows {
		left = min(left, row[0].x-row[0].width/2)
	}
	for _, row := range rows {
		for _, n := range row {
			n.x += margin - left
		}
	}
}
