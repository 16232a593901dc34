// Package grafana builds the Grafana boards and alert rules of Pingline, and the
// files that provision them.
//
// The boards are typed Go, and names of measurements, tags, fields and metrics are
// looked up in what a node writes: a name that is not written ends the program, so it
// ends the tests. Queries are InfluxQL, which InfluxDB 1.8, 2.x and 3 answer. No board
// names a data source: each has a variable for it. UIDs are stable.
//
// The package promises that each query returns rows from a store that a node has
// filled, and that Grafana's SDK takes the boards. It cannot promise how Grafana draws
// them: its tests run no Grafana.
//
// The files in this folder are generated: go generate ./dashboards/grafana.
package grafana

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

//go:generate go test . -run "Generated|Docs" -update

// UIDs of the boards. They are in links and bookmarks, and never change.
const (
	FleetUID      = "pingline-fleet"
	RiderUID      = "pingline-rider"
	IngestUID     = "pingline-ingest"
	PrometheusUID = "pingline-ingest-prometheus"
)

// tag is on every board; links between boards find them by it.
const tag = "pingline"

// Generated is a file that the code makes.
type Generated struct {
	Path string // below the folder of the boards
	Text []byte
}

// Source is an InfluxDB that Pingline writes to.
type Source struct {
	Shard    string // "" if it is the only one
	URL      string
	Database string // as InfluxQL knows it
}

// Files returns the files of this folder: for one InfluxDB, as deploy/compose.yaml
// runs it.
func Files() ([]Generated, error) {
	return FilesFor([]Source{{URL: "http://influxdb:8086", Database: "pingline"}})
}

// FilesFor returns the boards, rules and provisioning for stores, of which the first has
// what nodes write about themselves and about cells.
func FilesFor(sources []Source) ([]Generated, error) {
	files, err := provisioning(sources)
	if err != nil {
		return nil, err
	}
	var shards []string
	for _, s := range sources {
		shards = append(shards, s.Shard)
	}
	for name, b := range map[string]*dashboard.DashboardBuilder{
		"fleet":             fleetBoard(shards),
		"rider":             riderBoard(shards),
		"ingest":            ingestBoard(),
		"ingest-prometheus": prometheusBoard(),
	} {
		text, err := boardText(b)
		if err != nil {
			return nil, fmt.Errorf("board %s: %w", name, err)
		}
		files = append(files, Generated{"boards/" + name + ".json", text})
	}
	slices.SortFunc(files, func(a, b Generated) int { return cmp.Compare(a.Path, b.Path) })
	return files, nil
}

func boardText(b *dashboard.DashboardBuilder) ([]byte, error) {
	board, err := b.Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(board, "", "  ")
	return append(text, '\n'), err
}

// built is a value of the SDK that needs no builder.
type built[T any] struct{ value T }

// Build returns the value.
func (b built[T]) Build() (T, error) { return b.value, nil }

var _ cog.Builder[int] = built[int]{}

// newBoard returns an empty board with links to all others and to the live map.
func newBoard(uid, title, description string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).
		Uid(uid).Description(description).Tags([]string{tag}).
		Timezone("browser").Editable().Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(built[dashboard.DashboardLink]{dashboard.DashboardLink{
			Title: "Pingline boards", Type: dashboard.DashboardLinkTypeDashboards, Icon: "external link",
			Tooltip: "The other boards, for the same time", Tags: []string{tag}, KeepTime: true, IncludeVars: true,
		}}).
		Link(built[dashboard.DashboardLink]{dashboard.DashboardLink{
			Title: "Live map", Type: dashboard.DashboardLinkTypeLink, Icon: "compass",
			Tooltip: "The map that pingline serves", Url: cog.ToPtr("${map}"), Tags: []string{}, TargetBlank: true,
		}})
}
