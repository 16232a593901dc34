package grafana

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/geomap"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// sourceName is the name of the data source of a shard.
func sourceName(shard string) string {
	if shard == "" {
		return "Pingline"
	}
	return "Pingline " + shard
}

// sourceUIDOf is the UID of the data source of a shard. That of the first is the one that
// the rules ask.
func sourceUIDOf(i int, shard string) string {
	uid := sourceUID + "-" + shard
	switch {
	case i == 0:
		return sourceUID
	case uidForm.MatchString(uid):
		return uid
	}
	h := fnv.New64a()
	h.Write([]byte(shard))
	return fmt.Sprintf("%s-%x", sourceUID, h.Sum64())
}

// uidForm is the form of a UID in Grafana.
var uidForm = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)

// tokenVariable is the variable of Grafana's environment that has a shard's token.
func tokenVariable(shard string) string {
	if shard == "" {
		return "INFLUX_TOKEN"
	}
	return "INFLUX_TOKEN_" + strings.ToUpper(notInVariables.ReplaceAllString(shard, "_"))
}

var notInVariables = regexp.MustCompile(`[^a-zA-Z0-9]`)

// addSources adds a variable for the data source of each shard. The first shard's is
// the one that other queries go to.
func addSources(b *dashboard.DashboardBuilder, shards []string) {
	for i, shard := range shards {
		label, narrow := "Data source", ""
		if shard != "" {
			label, narrow = "Shard "+shard, "/^"+regexp.QuoteMeta(sourceName(shard))+"$/"
		}
		b.WithVariable(sourceVariable(sourceVar(i), label, influxType, narrow))
	}
}

func sourceVar(i int) string {
	if i == 0 {
		return "datasource"
	}
	return fmt.Sprintf("shard%d", i+1)
}

// ask returns the queries of a panel to each shard, and the panel's own data source:
// Mixed, if there are several.
func ask(shards []string, targets ...target) (own common.DataSourceRef, list []cog.Builder[variants.Dataquery]) {
	for i, shard := range shards {
		from := common.DataSourceRef{Type: cog.ToPtr(influxType), Uid: cog.ToPtr("${" + sourceVar(i) + "}")}
		for _, t := range targets {
			if shard != "" && t.name != "" {
				t.name += " " + shard
			}
			list = append(list, inInflux.query(fmt.Sprintf("Q%d", len(list)+1), from, t))
		}
	}
	if own = inInflux.source(); len(shards) > 1 {
		own = common.DataSourceRef{Type: cog.ToPtr("datasource"), Uid: cog.ToPtr(mixed)}
	}
	return own, list
}

// shardedPanel is a chart that asks each shard.
func shardedPanel(shards []string, p panel, targets []target) *timeseries.PanelBuilder {
	own, list := ask(shards, targets...)
	return inInflux.timePanel(&p).Datasource(own).Targets(list)
}

// mapPanel draws rows with lat and lon, of all shards: as a line in the order of time,
// or as heat.
func mapPanel(shards []string, title, about, unit string, line bool, t target) *geomap.PanelBuilder {
	own, list := ask(shards, t)
	b := geomap.NewPanelBuilder().Title(title).Description(about).Datasource(own).Targets(list).
		Span(12).Height(14).Unit(unit).
		View(geomap.NewMapViewConfigBuilder().Id("fit").AllLayers(true).Padding(10)).
		Controls(geomap.NewControlsOptionsBuilder().ShowZoom(true).ShowScale(true).ShowAttribution(true).MouseWheelZoom(true)).
		Basemap(built[common.MapLayerOptions]{common.MapLayerOptions{Type: "default", Name: "Map"}}).
		Tooltip(geomap.NewTooltipOptionsBuilder().Mode(geomap.TooltipModeDetails)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: struct{}{}}).
		WithTransformation(sorted("Time", false)).
		DataLinks(toRider)
	first := "heatmap"
	if line {
		first = "route"
	}
	return b.Layers([]cog.Builder[common.MapLayerOptions]{layer(first, "Riders"), layer("markers", "Points")})
}

// layer draws points by their fields lat and lon.
func layer(kind, name string) cog.Builder[common.MapLayerOptions] {
	return built[common.MapLayerOptions]{common.MapLayerOptions{
		Type: kind, Name: name, Tooltip: cog.ToPtr(true),
		Location: &common.FrameGeometrySource{Mode: common.FrameGeometrySourceModeCoords, Latitude: cog.ToPtr("lat"), Longitude: cog.ToPtr("lon")},
	}}
}

// tablePanel shows the first rows of all shards by a column: order is its name, "asc"
// or "", and the most rows. Of several rows of a rider it shows all.
func tablePanel(shards []string, title, about, unit string, wide uint32, order []string, t target) *table.PanelBuilder {
	own, list := ask(shards, t)
	return table.NewPanelBuilder().Title(title).Description(about).Datasource(own).Targets(list).
		Span(wide).Height(10).Unit(unit).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{})).ShowHeader(true).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: struct{}{}}).
		WithTransformation(sorted(order[0], order[1] == "")).
		WithTransformation(dashboard.DataTransformerConfig{Id: "limit", Options: limitOptions{LimitField: order[2]}}).
		OverrideByName("rider", []dashboard.DynamicConfigValue{{Id: "links", Value: riderLinks}})
}

// Options of transformations, which the SDK has no types for.
type (
	sortOptions struct {
		Fields struct{}    `json:"fields"`
		Sort   []sortField `json:"sort"`
	}
	sortField struct {
		Field string `json:"field"`
		Desc  bool   `json:"desc"`
	}
	limitOptions struct {
		LimitField string `json:"limitField"`
	}
)

func sorted(by string, descending bool) dashboard.DataTransformerConfig {
	return dashboard.DataTransformerConfig{Id: "sortBy", Options: sortOptions{Sort: []sortField{{by, descending}}}}
}

// riderLinks lead from the rider of a row to the board of a rider.
var riderLinks = []dashboard.DashboardLink{{
	Title: "This rider's way", Type: dashboard.DashboardLinkTypeLink, Tags: []string{},
	Url: cog.ToPtr("/d/" + RiderUID + "?var-rider=${__data.fields.rider}&${__url_time_range}"),
}}

var toRider = []cog.Builder[dashboard.DashboardLink]{built[dashboard.DashboardLink]{riderLinks[0]}}
