package grafana

import (
	"fmt"
	"strconv"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// target is a query of a panel.
type target struct {
	query string // InfluxQL or PromQL
	name  string // of its series, an alias or a legend; "" is the data source's
	table bool   // rows rather than series
}

// panel describes a panel for both dialects.
type panel struct {
	title, about string // about says how to read it, and when to act
	unit         string
	limits       limits
	states       map[int]state // what numbers mean, if they are states
	wide         uint32        // of 24; 0 means 4 for a number, 12 for a chart
	stacked      bool
	number       bool // the newest value, large
	influx, prom []target
}

// limits are the values at which a panel turns yellow and red; 0 is none. It is the
// other way around if red is below yellow.
type limits struct{ yellow, red float64 }

type state struct{ text, colour string }

// dialect says in which language a board asks, and by which variable it knows the
// data source.
type dialect struct {
	kind    string // type of the data source
	targets func(*panel) []target
}

var (
	inInflux     = dialect{influxType, func(p *panel) []target { return p.influx }}
	inPrometheus = dialect{prometheusType, func(p *panel) []target { return p.prom }}
)

// source is the data source that the variable of a board names.
func (d dialect) source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr(d.kind), Uid: cog.ToPtr("${datasource}")}
}

// queries returns the targets of a panel for the SDK.
func (d dialect) queries(p *panel) (list []cog.Builder[variants.Dataquery]) {
	for i, t := range d.targets(p) {
		list = append(list, d.query(string(rune('A'+i)), d.source(), t))
	}
	return list
}

func (d dialect) query(ref string, from common.DataSourceRef, t target) cog.Builder[variants.Dataquery] {
	if d.kind == prometheusType {
		return prometheus.NewDataqueryBuilder().RefId(ref).Datasource(from).Expr(t.query).LegendFormat(t.name).Range()
	}
	format := "time_series"
	if t.table {
		format = "table"
	}
	return built[variants.Dataquery]{InfluxQuery{RefID: ref, Datasource: &from, Query: t.query, RawQuery: true, ResultFormat: format, Alias: t.name}}
}

// add puts panels on a board, those that the dialect can ask for.
func (d dialect) add(b *dashboard.DashboardBuilder, panels ...panel) {
	for i := range panels {
		p := &panels[i]
		switch {
		case len(d.targets(p)) == 0:
		case p.number:
			b.WithPanel(d.statPanel(p))
		default:
			b.WithPanel(d.timePanel(p))
		}
	}
}

func (d dialect) statPanel(p *panel) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(p.title).Description(p.about).Datasource(d.source()).
		Span(max(p.wide, 4)).Height(4).Interval(step).
		Unit(p.unit).Thresholds(p.limits.thresholds()).Mappings(mappings(p.states)).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeArea).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Targets(d.queries(p))
}

func (d dialect) timePanel(p *panel) *timeseries.PanelBuilder {
	wide := p.wide
	if wide == 0 {
		wide = 12
	}
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.about).Datasource(d.source()).
		Span(wide).Height(8).Interval(step).
		Unit(p.unit).Min(0).Thresholds(p.limits.thresholds()).Mappings(mappings(p.states)).
		FillOpacity(10).LineWidth(1).ShowPoints(common.VisibilityModeAuto).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).ShowLegend(true).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Targets(d.queries(p))
	if p.limits != (limits{}) {
		b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	if p.stacked {
		b.Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal)).FillOpacity(40)
	}
	return b
}

// mixed is the data source of a panel whose queries have each their own.
const mixed = "-- Mixed --"

// step is the shortest time between two values: a node writes about itself so often.
const step = "10s"

// Colours of states, from Grafana's palette: told apart by the colour-blind too.
const (
	good    = "green"
	careful = "#EAB839"
	bad     = "red"
)

func (l limits) thresholds() *dashboard.ThresholdsConfigBuilder {
	var steps []dashboard.Threshold
	at := func(v float64, colour string) {
		if v != 0 {
			steps = append(steps, dashboard.Threshold{Value: cog.ToPtr(v), Color: colour})
		}
	}
	if l.red != 0 && l.red < l.yellow {
		steps = append(steps, dashboard.Threshold{Color: bad})
		at(l.red, careful)
		at(l.yellow, good)
	} else {
		steps = append(steps, dashboard.Threshold{Color: good})
		at(l.yellow, careful)
		at(l.red, bad)
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func mappings(states map[int]state) []dashboard.ValueMapping {
	if states == nil {
		return nil
	}
	m := dashboard.NewValueMap()
	for v, s := range states {
		m.Options[strconv.Itoa(v)] = dashboard.ValueMappingResult{Text: cog.ToPtr(s.text), Color: cog.ToPtr(s.colour)}
	}
	return []dashboard.ValueMapping{{ValueMap: m}}
}

// sourceVariable is the variable that names a data source; regex narrows the choice.
func sourceVariable(name, label, kind, regex string) cog.Builder[dashboard.VariableModel] {
	return dashboard.NewDatasourceVariableBuilder(name).Label(label).Type(kind).Regex(regex).
		Description("Data source of type " + kind + " that has the points.")
}

// allVariable is a variable of which any number of values may be chosen, at first all.
func allVariable(d dialect, name, label, query string) cog.Builder[dashboard.VariableModel] {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(d.source()).
		Description(fmt.Sprintf("Each %s to look at.", name)).
		Query(dashboard.StringOrMap{String: &query}).Definition(query).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{Selected: cog.ToPtr(true), Text: text("All"), Value: text("$__all")})
}

func text(s string) dashboard.StringOrArrayOfString {
	return dashboard.StringOrArrayOfString{String: &s}
}

// mapVariable is the address of the live map.
func mapVariable() cog.Builder[dashboard.VariableModel] {
	return dashboard.NewTextBoxVariableBuilder("map").Label("Live map").
		Description("Address of pingline serve, as your browser sees it.").
		DefaultValue(dashboard.StringOrMap{String: cog.ToPtr("http://localhost:8080")}).
		Current(dashboard.VariableOption{Text: text("http://localhost:8080"), Value: text("http://localhost:8080")})
}
