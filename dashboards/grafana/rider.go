package grafana

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"

	"pingline/internal/node"
)

// riderBoard is about one rider, whose pings may be in all shards.
func riderBoard(shards []string) *dashboard.DashboardBuilder {
	pings := of(node.PingMeasurement)
	b := newBoard(RiderUID, "Pingline: Rider", "One rider's way, and what was stored of it.").Time("now-3h", "now").Refresh("30s")
	addSources(b, shards)
	riders := pings.values("rider") + " LIMIT 1000"
	b.WithVariable(choice("rider", "Rider", "Rider id; the list has the first 1,000, any other can be typed.", riders, "")).WithVariable(mapVariable())
	its := pings.and(pings.tag("rider") + " = '${rider}'")
	line := its.and(pings.tag("late") + " = ''") // late points are not on the line
	b.WithPanel(mapPanel(shards, "Track",
		"The stored points of the track as a line, without late points, which are not on it. No ping is further from the line than --max-error.",
		units.MetersPerSecond, true,
		target{table: true, query: fmt.Sprintf("SELECT %s, %s, %s ", line.field("lat"), line.field("lon"), line.field("speed")) + line.from(timeFilter)}))
	steps := func(m measurement, columns string) string {
		return "SELECT " + columns + " " + m.from(timeFilter) + groupBy(perStep) + " fill(none)"
	}
	for _, p := range []struct {
		title, about, unit string
		stacked            bool
		targets            []target
	}{
		{title: "Speed", unit: units.MetersPerSecond, about: "Speed as the phone told it.",
			targets: []target{{query: steps(line, line.columns("mean(%s)", []string{"speed"})), name: "speed"}}},
		{title: "Stored and skipped", unit: pingsUnit, stacked: true, about: "Pings stored, and pings between them that added nothing to the track and were left out.",
			targets: []target{
				{query: steps(its, "count("+its.field("lat")+`) AS "stored"`), name: "stored"},
				{query: steps(its, its.columns("sum(%s)", []string{"skipped"})), name: "skipped"}}},
		{title: "Late points", unit: pingsUnit, about: "Points that came out of order, after something near them had been left out: they are stored beside the line. Many of them mean a phone that sends its backlog badly.",
			targets: []target{{query: steps(its.and(its.tag("late")+" = '1'"), "count("+its.field("lat")+`) AS "late"`), name: "late"}}},
		{title: "Altitude", unit: units.Meter, about: "Altitude as the phone told it.",
			targets: []target{{query: steps(line, line.columns("mean(%s)", []string{"altitude"})), name: "altitude"}}},
		{title: "Battery", unit: units.PercentUnit, about: "Charge of the phone's battery: a track that ends at 0 ended for that.",
			targets: []target{{query: steps(line, line.columns("last(%s)", []string{"battery"})), name: "battery"}}},
		{title: "Accuracy", unit: units.Meter, about: "Radius of the circle that holds the true position with 68 %, as the phone told it.",
			targets: []target{{query: steps(line, line.columns("mean(%s)", []string{"accuracy"})), name: "accuracy"}}},
	} {
		b.WithPanel(shardedPanel(shards, panel{title: p.title, about: p.about, unit: p.unit, stacked: p.stacked}, p.targets))
	}
	b.WithPanel(tablePanel(shards, "Events", "The rider's pings with an event, newest first.", units.Short, 12, []string{"Time", "", "100"},
		target{table: true, query: fmt.Sprintf("SELECT %s, %s, %s ", its.field("event"), its.field("lat"), its.field("lon")) +
			its.from(its.field("event")+" != ''", timeFilter) + " ORDER BY time DESC LIMIT 100"}))
	return b
}
