package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"pingline/internal/unit"
)

// themeColor is a color of the page, light and dark.
type themeColor struct{ Name, Light, Dark string }

// theme holds the colors by name: of the paper first, then of what is drawn.
var theme = []themeColor{
	{"ink", "#1d2430", "#e7eaf0"},
	{"soft", "#5b6575", "#9aa4b5"},
	{"grid", "#e3e6ec", "#2a303b"},
	{"paper", "#ffffff", "#12151b"},
	{"card", "#f6f7f9", "#1a1f28"},

	{"accepted", "#2f9e60", "#3fb874"},
	{"held", "#4a86e8", "#5b94f0"},
	{"redundant", "#a9c7f2", "#36558a"},
	{"duplicate", "#9467bd", "#ac85d1"},
	{"shed", "#e8912d", "#f0a04a"},
	{"rejected", "#d64545", "#ea6262"},
	{"sent", "#1d2430", "#e7eaf0"},
	{"due", "#5b6575", "#9aa4b5"},
	{"p50", "#4a86e8", "#5b94f0"},
	{"p99", "#2f9e60", "#3fb874"},
	{"p999", "#e8912d", "#f0a04a"},
	{"max", "#d64545", "#ea6262"},
}

// colorOf returns a color that stands in the SVG for a color of the theme: its name is
// put there when the SVG is done, for the style of the page to choose.
func colorOf(name string) color.Color {
	for i, c := range theme {
		if c.Name == name {
			return color.NRGBA{R: 1, G: 2, B: uint8(i), A: 255}
		}
	}
	panic("report: no color " + name)
}

var standIn = regexp.MustCompile(`#0102[0-9A-F]{2}`)

const (
	wide = 960 * vg.Length(0.75) // points of 4/3 pixel
	high = 250 * vg.Length(0.75)

	textSize   = 9
	labelWidth = 52
)

// canvas is a plot under way.
type canvas struct {
	*plot.Plot
	s      course
	keys   []key
	lowest float64 // of what is drawn as lines, without 0
	most   float64
	err    error
}

func newCanvas(s course) *canvas {
	c := &canvas{Plot: plot.New(), s: s, lowest: math.Inf(1)}
	c.BackgroundColor = nil // none is drawn
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = colorOf("grid"), colorOf("grid")
	grid.Horizontal.Width, grid.Vertical.Width = 0.75, 0.75
	c.Add(grid)
	for _, axis := range [...]*plot.Axis{&c.X, &c.Y} {
		axis.LineStyle.Width = 0
		axis.Tick.LineStyle.Color = colorOf("grid")
		axis.Tick.Label.Color = colorOf("soft")
		axis.Tick.Label.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: textSize}
		axis.Tick.Length = 0
		axis.Padding = 4
	}
	c.X.Min, c.X.Max = 0, s.x(len(s.seconds)-1)
	c.X.Tick.Marker = timeTicks{}
	c.Y.Tick.Marker = countTicks{}
	return c
}

// add puts something on the canvas that has a line in the legend.
func (c *canvas) add(name, of, kind string, p plot.Plotter, err error) {
	if c.err = err; err != nil {
		return
	}
	c.Add(p)
	if len(c.keys) == 0 || c.keys[len(c.keys)-1].Name != name {
		c.keys = append(c.keys, key{name, of, kind})
	}
}

func (c *canvas) line(name, of string, pieces []plotter.XYs) {
	c.pieces(name, of, "line", pieces, func(*plotter.Line) {})
}

func (c *canvas) dashed(name, of string, pieces []plotter.XYs) {
	c.pieces(name, of, "dash", pieces, func(l *plotter.Line) { l.Dashes = []vg.Length{4, 3} })
}

func (c *canvas) steps(name, of string, pieces []plotter.XYs) {
	c.pieces(name, of, "line", pieces, func(l *plotter.Line) { l.StepStyle = plotter.PostStep })
}

func (c *canvas) pieces(name, of, kind string, pieces []plotter.XYs, style func(*plotter.Line)) {
	for _, xys := range pieces {
		if c.err != nil {
			return
		}
		for _, p := range xys {
			c.most = max(c.most, p.Y)
			if p.Y > 0 {
				c.lowest = min(c.lowest, p.Y)
			}
		}
		if len(xys) == 1 { // a line of one dot is nothing to see
			xys = append(xys, plotter.XY{X: xys[0].X + 0.5, Y: xys[0].Y})
		}
		l, err := plotter.NewLine(xys)
		if err == nil {
			l.Color, l.Width = colorOf(of), 1.25
			style(l)
		}
		c.add(name, of, kind, l, err)
	}
}

// area fills the space between two heights.
func (c *canvas) area(name, of string, base, top []float64) {
	var around plotter.XYs
	for i, y := range top {
		around = append(around, plotter.XY{X: c.s.x(i), Y: y})
		c.most = max(c.most, y)
	}
	for i := len(base) - 1; i >= 0; i-- {
		around = append(around, plotter.XY{X: c.s.x(i), Y: base[i]})
	}
	p, err := plotter.NewPolygon(around)
	if err == nil {
		p.Color, p.LineStyle.Width = colorOf(of), 0
	}
	c.add(name, of, "area", p, err)
}

// logarithmic makes the heights decades of a latency in seconds.
func (c *canvas) logarithmic() {
	if c.most == 0 { // nothing was answered
		c.lowest, c.most = 1e-3, 1
	}
	c.Y.Scale, c.Y.Tick.Marker = plot.LogScale{}, decadeTicks{}
	c.Y.Min = math.Pow(10, math.Floor(math.Log10(c.lowest)))
	c.Y.Max = max(math.Pow(10, math.Ceil(math.Log10(c.most))), 10*c.Y.Min)
}

// levels makes the heights whole numbers.
func (c *canvas) levels() {
	c.Y.Max = max(c.most, 3)
	var ticks plot.ConstantTicks
	for i := 0.0; i <= c.Y.Max; i++ {
		ticks = append(ticks, plot.Tick{Value: i, Label: strconv.Itoa(int(i))})
	}
	c.Y.Tick.Marker = ticks
}

// finish returns the plot as a part of the page.
func (c *canvas) finish(name, caption string) (plotted, error) {
	if c.err != nil {
		return plotted{}, fmt.Errorf("%s: %w", name, c.err)
	}
	if _, logarithmic := c.Y.Tick.Marker.(decadeTicks); !logarithmic {
		c.Y.Min, c.Y.Max = 0, max(c.Y.Max, 1.05*c.most, 1)
	}
	// Adding a line widens the axis to it; the time is that of all seconds.
	c.X.Min, c.X.Max = 0, max(c.s.x(len(c.s.seconds)-1), 1)
	svg := vgsvg.New(wide, high)
	area := draw.Crop(draw.New(svg), 2, -14, 4, -6)
	// All plots of a page begin at the same distance, however wide their labels are.
	c.Draw(draw.Crop(area, max(0, labelWidth-c.DataCanvas(area).Min.X), 0, 0, 0))
	var b bytes.Buffer
	if _, err := svg.WriteTo(&b); err != nil {
		return plotted{}, fmt.Errorf("%s: %w", name, err)
	}
	return plotted{name, caption, c.keys, inline(b.String(), name)}, nil
}

var head = regexp.MustCompile(`(?s)^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>`)

// inline returns an SVG document as an element of a page: as wide as there is room,
// with the page's colors, and named for readers who do not see it.
func inline(svg, name string) template.HTML {
	svg = head.ReplaceAllString(svg, `<svg viewBox="$1" role="img" aria-label="`+name+` over time">`)
	svg = standIn.ReplaceAllStringFunc(svg, func(s string) string {
		i, _ := strconv.ParseUint(s[len("#0102"):], 16, 8)
		return "var(--" + theme[i].Name + ")"
	})
	return template.HTML(strings.TrimSpace(svg)) //nolint:gosec // made of numbers and names of ours
}

// timeTicks are round times since the run began.
type timeTicks struct{}

// Ticks is called by plot.
func (timeTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	const most = 12
	step := 1.0
	for _, step = range [...]float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400} {
		if (high-low)/step <= most {
			break
		}
	}
	step *= math.Ceil((high - low) / step / most) // of a run of weeks
	for at := math.Ceil(low/step) * step; at <= high; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: elapsed(seconds(at))})
	}
	return ticks
}

// countTicks are a few round numbers.
type countTicks struct{}

// Ticks is called by plot.
func (countTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10(max(high-low, 1)/4)))
	for _, n := range [...]float64{1, 2, 5, 10} {
		if step*n >= (high-low)/5 {
			step *= n
			break
		}
	}
	step = max(step, 1)
	for at := math.Ceil(low/step) * step; at <= high; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: unit.Comma(at)})
	}
	return ticks
}

// decadeTicks are powers of ten of a second, with lines between them.
type decadeTicks struct{}

// Ticks is called by plot.
func (decadeTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	for n := math.Round(math.Log10(low)); n <= math.Round(math.Log10(high)); n++ {
		at := math.Pow(10, n)
		ticks = append(ticks, plot.Tick{Value: at, Label: duration(seconds(at))})
		for i := 2.0; i < 10 && i*at < high; i++ {
			ticks = append(ticks, plot.Tick{Value: i * at})
		}
	}
	return ticks
}
