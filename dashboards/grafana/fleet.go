package grafana

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"

	"pingline/internal/node"
	"pingline/internal/ops"
)

// fleetBoard is about riders and places. Activity of cells and what nodes say about
// themselves is in the first shard, riders are in all of them.
func fleetBoard(shards []string) *dashboard.DashboardBuilder {
	cells := of(node.ActivityMeasurement)
	b := newBoard(FleetUID, "Pingline: Fleet", "Where is the fleet, how busy is it, and who is silent? From the roll-up of cells and the stored pings.").
		Time("now-1h", "now").Refresh("30s")
	addSources(b, shards)
	b.WithVariable(choice("res", "Resolution", "H3 resolution of the cells in the table: --rollup says which there are.", cells.values("res"), "6")).
		WithVariable(allVariable(inInflux, "node", "Node", cells.values("node"))).
		WithVariable(allVariable(inInflux, "shard", "Shard", of(ops.ShardPoint).values("shard"))).
		WithVariable(allVariable(inInflux, "lane", "Lane", of(ops.LanePoint).values("lane"))).
		WithVariable(mapVariable())
	minute := cells.in("window", "1m")
	coarse := minute.in("res", "4")
	sum := func(alias string, fields ...string) []target {
		return []target{{query: "SELECT " + coarse.columns("sum(%s)", fields) + " " + coarse.scoped().from(timeFilter) + groupBy("time(1m)") + " fill(none)", name: alias}}
	}
	inInflux.add(b,
		panel{title: "Riders in the last minute", number: true, wide: 6, unit: units.Short,
			about:  "Riders of whom a ping came within a minute, of the last minute that is complete. A rider who went from one cell of resolution 4 into another counts in both.",
			influx: sum("riders", "riders")},
		panel{title: "Moving", number: true, wide: 6, unit: units.Short,
			about:  "Riders seen moving, at 0.5 m/s or more.",
			influx: sum("moving", "moving")},
		panel{title: "Waiting", number: true, wide: 6, unit: units.Short,
			about:  "Riders seen, but not seen moving.",
			influx: sum("waiting", "waiting")},
		panel{title: "Pings a minute", number: true, wide: 6, unit: units.Short,
			about:  "Pings counted by the roll-up, whether they were stored or not.",
			influx: sum("pings", "pings")},
	)
	pings := of(node.PingMeasurement)
	b.WithPanel(mapPanel(shards, "Newest positions",
		"The newest stored position of each rider within the time of the board, as heat and as dots. Pings that the filter holds back are not there yet: the live map has them.",
		units.MetersPerSecond, false,
		target{table: true, query: "SELECT " + pings.columns("last(%s)", []string{"lat"}) + ", " + pings.field("lon") + ", " + pings.field("speed") + " " + pings.from(timeFilter) + groupBy(pings.tag("rider"))}))
	b.WithPanel(tablePanel([]string{""}, "Busiest cells",
		"The cells with most pings within the time of the board, of the resolution that is chosen above. speed_mean is in m/s.", units.Short, 12,
		[]string{"pings", "", "20"},
		target{table: true, query: fmt.Sprintf("SELECT sum(%[1]s) AS %[1]s, max(%[2]s) AS %[2]s, mean(%[3]s) AS %[3]s ", minute.field("pings"), minute.field("riders"), minute.field("speed_mean")) +
			minute.and(minute.tag("res")+" = '${res}'").scoped().from(timeFilter) + groupBy(minute.tag("cell"))}))
	inInflux.add(b,
		panel{title: "Riders over time", unit: units.Short, stacked: true,
			about:  "Riders moving and waiting, by the minute.",
			influx: sum("$col", "moving", "waiting")},
		panel{title: "Freshness by shard and lane, p99", unit: units.Seconds, limits: limits{30, 120},
			about:  "Age at most of 99 % of the pings when they were stored. live is what a dispatcher sees; backfill fills in what was left out.",
			influx: []target{{query: of(ops.LanePoint).gauge("max", []string{"shard", "lane"}, "freshness_p99_s"), name: "$tag_shard $tag_lane"}}},
	)
	b.WithPanel(tablePanel(shards, "Longest silent",
		"Riders by the time of their newest stored ping, longest silent first, within the time of the board. A rider who stands still is stored every --max-gap (5 min): silence is more than that. Click one to see the way there.",
		units.Short, 12, []string{"Time", "asc", "50"},
		target{table: true, query: "SELECT " + pings.columns("last(%s)", []string{"lat"}) + ", " + pings.field("lon") + " " + pings.from(timeFilter) + groupBy(pings.tag("rider"))}))
	b.WithPanel(tablePanel(shards, "Newest events",
		"Pings with an event, newest first: pickups, drop-offs, SOS. Click a rider to see the way there.", units.Short, 12, []string{"Time", "", "50"},
		target{table: true, query: fmt.Sprintf("SELECT %s, %s, %s ", pings.field("event"), pings.field("lat"), pings.field("lon")) +
			pings.from(pings.field("event")+" != ''", timeFilter) + groupBy(pings.tag("rider")) + " ORDER BY time DESC LIMIT 50"}))
	return b
}

// choice is a variable with one value of a query.
func choice(name, label, about, query, first string) cog.Builder[dashboard.VariableModel] {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Description(about).Datasource(inInflux.source()).
		Query(dashboard.StringOrMap{String: &query}).Definition(query).AllowCustomValue(true).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNumericalAsc).
		Current(dashboard.VariableOption{Text: text(first), Value: text(first)})
}
