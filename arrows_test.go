package pingline_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows says which packages of ours each may import; tests may import more.
// cmd wires all.
var arrows = map[string][]string{
	"pingline":                                   {},
	"pingline/client":                            {"pingline", "pingline/internal/pause", "pingline/queue/disk", "pingline/track"},
	"pingline/dashboards/grafana":                {"pingline", "pingline/internal/node", "pingline/internal/ops"},
	"pingline/dashboards/browsertest":            {},
	"pingline/dashboards/livemap":                {"pingline/dashboards/site"},
	"pingline/dashboards/phone":                  {"pingline/dashboards/site"},
	"pingline/dashboards/site":                   {},
	"pingline/dedupe":                            {"pingline", "pingline/dedupe/carried", "pingline/dedupe/horizon", "pingline/dedupe/plane", "pingline/dedupe/slab", "pingline/dedupe/vertices", "pingline/dedupe/wheel"},
	"pingline/dedupe/carried":                    {"pingline"},
	"pingline/dedupe/horizon":                    {},
	"pingline/dedupe/wheel":                      {},
	"pingline/dedupe/plane":                      {"pingline"},
	"pingline/dedupe/slab":                       {},
	"pingline/dedupe/study":                      {"pingline", "pingline/dedupe", "pingline/internal/unit", "pingline/partition", "pingline/track", "pingline/track/picture"},
	"pingline/dedupe/vertices":                   {"pingline/dedupe/plane", "pingline/dedupe/slab"},
	"pingline/dedupe/intime":                     {"pingline"},
	"pingline/ingest":                            {"pingline", "pingline/dedupe", "pingline/dedupe/carried", "pingline/dedupe/intime", "pingline/internal/statefile", "pingline/internal/watermark", "pingline/internal/unit", "pingline/partition", "pingline/queue", "pingline/queue/disk"},
	"pingline/internal/watermark":                {},
	"pingline/ingest/auth":                       {"pingline", "pingline/ingest/auth/reread", "pingline/ingest/privacy", "pingline/ingest/server/rate"},
	"pingline/ingest/auth/access":                {"pingline/ingest/auth", "pingline/ingest/auth/token", "pingline/ingest/auth/trail", "pingline/ingest/privacy"},
	"pingline/ingest/auth/reread":                {},
	"pingline/ingest/auth/secrets":               {"pingline", "pingline/ingest/auth/reread"},
	"pingline/ingest/auth/trail":                 {"pingline/ingest/auth"},
	"pingline/ingest/auth/token":                 {"pingline/ingest/auth"},
	"pingline/ingest/forward":                    {"pingline", "pingline/dedupe", "pingline/ingest", "pingline/partition"},
	"pingline/ingest/friends":                    {"pingline/ingest", "pingline/ingest/auth", "pingline/ingest/phone", "pingline/ingest/privacy"},
	"pingline/ingest/mqtt":                       {"pingline/ingest/auth"},
	"pingline/ingest/mqtt/broker":                {"pingline/ingest/auth", "pingline/ingest/mqtt", "pingline/ingest/mqtt/link", "pingline/ingest/server/certs", "pingline/ingest/server/conns", "pingline/ingest/server/sender", "pingline/ingest/server/share"},
	"pingline/ingest/mqtt/inside":                {"pingline/ingest/auth", "pingline/ingest/mqtt"},
	"pingline/ingest/mqtt/link":                  {"pingline/ingest/server/minrate", "pingline/ingest/server/share"},
	"pingline/ingest/mqtt/mqtttest":              {},
	"pingline/ingest/mqtt/subscriber":            {"pingline/ingest/auth", "pingline/ingest/mqtt"},
	"pingline/ingest/phone":                      {"pingline"},
	"pingline/ingest/privacy":                    {"pingline", "pingline/ingest/phone"},
	"pingline/ingest/server":                     {"pingline", "pingline/ingest", "pingline/ingest/auth", "pingline/ingest/friends", "pingline/ingest/phone", "pingline/ingest/privacy", "pingline/ingest/server/aside", "pingline/ingest/server/certs", "pingline/ingest/server/clocks", "pingline/ingest/server/conns", "pingline/ingest/server/framing", "pingline/ingest/server/inflate", "pingline/ingest/server/leaving", "pingline/ingest/server/manners", "pingline/ingest/server/minrate", "pingline/ingest/server/outcomes", "pingline/ingest/server/pages", "pingline/ingest/server/param", "pingline/ingest/server/rate", "pingline/ingest/server/reads", "pingline/ingest/server/refusal", "pingline/ingest/server/guard", "pingline/ingest/server/sender", "pingline/ingest/server/share", "pingline/ingest/server/top", "pingline/internal/plainjson", "pingline/partition", "pingline/query", "pingline/query/stream"},
	"pingline/ingest/server/reads":               {"pingline", "pingline/ingest", "pingline/ingest/auth", "pingline/ingest/privacy", "pingline/ingest/server/conns", "pingline/ingest/server/leaving", "pingline/ingest/server/minrate", "pingline/ingest/server/param", "pingline/ingest/server/rate", "pingline/ingest/server/refusal", "pingline/ingest/server/guard", "pingline/ingest/server/sender", "pingline/ingest/server/share", "pingline/internal/meridian", "pingline/internal/plainjson", "pingline/partition", "pingline/query", "pingline/query/fleet", "pingline/query/history", "pingline/query/stream"},
	"pingline/ingest/server/aside":               {},
	"pingline/ingest/server/leaving":             {"pingline/ingest/server/conns", "pingline/ingest/server/minrate"},
	"pingline/ingest/server/manners":             {"pingline/ingest/phone", "pingline/ingest/server/refusal"},
	"pingline/ingest/server/minrate":             {},
	"pingline/ingest/server/refusal":             {},
	"pingline/ingest/server/guard":               {"pingline/ingest/auth", "pingline/ingest/server/sender"},
	"pingline/ingest/server/sender":              {"pingline/ingest/server/conns"},
	"pingline/ingest/server/pages":               {},
	"pingline/ingest/server/outcomes":            {"pingline/ingest/phone"},
	"pingline/ingest/server/share":               {},
	"pingline/ingest/server/conns":               {"pingline/ingest/auth", "pingline/ingest/server/certs", "pingline/ingest/server/framing"},
	"pingline/ingest/server/certs":               {"pingline", "pingline/ingest/auth", "pingline/ingest/auth/reread"},
	"pingline/ingest/server/certs/certstest":     {},
	"pingline/ingest/server/framing":             {},
	"pingline/ingest/server/framing/framingtest": {},
	"pingline/ingest/server/clocks":              {},
	"pingline/ingest/server/param":               {"pingline", "pingline/ingest/server/refusal", "pingline/partition", "pingline/query/history", "pingline/sink/store"},
	"pingline/ingest/server/rate":                {},
	"pingline/ingest/server/top":                 {"pingline", "pingline/internal/unit"},
	"pingline/ingest/server/inflate":             {"pingline/ingest/phone"},
	"pingline/internal/awsqueue":                 {},
	"pingline/ingest/sqs":                        {"pingline/ingest/messages", "pingline/internal/awsqueue"},
	"pingline/internal/boards":                   {"pingline/dashboards/grafana", "pingline/internal/command", "pingline/internal/node"},
	"pingline/internal/schema":                   {"pingline/internal/command", "pingline/internal/node"},
	"pingline/internal/setup":                    {"pingline", "pingline/ingest/auth", "pingline/internal/command", "pingline/internal/keyring"},
	"pingline/internal/keyring":                  {"pingline/ingest/auth", "pingline/ingest/privacy", "pingline/internal/command"},
	"pingline/internal/command":                  {"pingline/ingest/auth/access", "pingline/ingest/auth/token", "pingline/ingest/kafka", "pingline/ingest/mqtt/subscriber", "pingline/ingest/privacy", "pingline/ingest/server/certs", "pingline/ingest/sqs", "pingline/internal/node", "pingline/internal/peers", "pingline/internal/unit", "pingline/partition", "pingline/sink/sets"},
	"pingline/internal/costtest":                 {},
	"pingline/internal/elasticmq":                {"pingline/internal/jvm"},
	"pingline/internal/influxd":                  {},
	"pingline/internal/natsd":                    {"pingline/internal/influxd"},
	"pingline/internal/handover":                 {"pingline/internal/unit", "pingline/queue"},
	"pingline/internal/follow":                   {"pingline", "pingline/dedupe", "pingline/ingest", "pingline/internal/pause", "pingline/internal/statefile", "pingline/queue", "pingline/queue/jetstream", "pingline/queue/record", "pingline/queue/scan"},
	"pingline/internal/statefile":                {"pingline", "pingline/dedupe", "pingline/queue/disk"},
	"pingline/internal/inlets":                   {"pingline/ingest/auth", "pingline/ingest/kafka", "pingline/ingest/messages", "pingline/ingest/mqtt", "pingline/ingest/mqtt/broker", "pingline/ingest/mqtt/subscriber", "pingline/ingest/server", "pingline/ingest/server/certs", "pingline/ingest/sqs", "pingline/internal/room", "pingline/queue"},
	"pingline/internal/jvm":                      {},
	"pingline/internal/peers":                    {"pingline/ingest", "pingline/ingest/forward", "pingline/internal/follow", "pingline/internal/ops", "pingline/internal/parts", "pingline/internal/resharding", "pingline/internal/room", "pingline/internal/unit", "pingline/partition", "pingline/query/gather", "pingline/query/status", "pingline/queue", "pingline/queue/jetstream", "pingline/rollup", "pingline/rollup/merge"},
	"pingline/internal/passing":                  {"pingline/ingest", "pingline/ingest/phone", "pingline/ingest/server/refusal", "pingline/sink/limit", "pingline/sink/store"},
	"pingline/internal/node": {
		"pingline/internal/follow", "pingline/internal/handover", "pingline/internal/inlets", "pingline/internal/logview", "pingline/internal/passing", "pingline/internal/peers",
		"pingline/ingest/kafka", "pingline/ingest/messages",
		"pingline", "pingline/dashboards/livemap", "pingline/dashboards/phone", "pingline/dashboards/site", "pingline/dedupe", "pingline/ingest", "pingline/ingest/auth", "pingline/ingest/auth/access", "pingline/ingest/auth/secrets", "pingline/ingest/auth/token", "pingline/ingest/mqtt/inside", "pingline/ingest/mqtt/subscriber", "pingline/ingest/phone", "pingline/ingest/privacy", "pingline/ingest/server", "pingline/ingest/server/aside", "pingline/ingest/server/certs", "pingline/ingest/sqs", "pingline/ingest/server/pages", "pingline/internal/awsqueue", "pingline/internal/ops", "pingline/internal/kafkalink", "pingline/internal/resharding", "pingline/internal/rights", "pingline/internal/room", "pingline/internal/standby", "pingline/internal/storecheck",
		"pingline/internal/unit", "pingline/partition", "pingline/query", "pingline/query/fleet", "pingline/query/gather", "pingline/query/history", "pingline/query/status", "pingline/query/stream", "pingline/queue", "pingline/queue/disk", "pingline/rollup", "pingline/sink", "pingline/sink/deadletter", "pingline/sink/reshard", "pingline/sink/sets", "pingline/sink/store",
		"pingline/ingest/friends",
	},
	"pingline/internal/ops": {
		"pingline", "pingline/ingest", "pingline/ingest/forward", "pingline/ingest/kafka", "pingline/ingest/mqtt", "pingline/ingest/server", "pingline/ingest/sqs", "pingline/internal/passing", "pingline/partition", "pingline/query/status", "pingline/query/stream", "pingline/queue", "pingline/rollup", "pingline/rollup/merge", "pingline/sink", "pingline/sink/moving", "pingline/sink/reshard", "pingline/sink/route", "pingline/sink/sets",
	},
	"pingline/internal/rights":    {"pingline", "pingline/ingest", "pingline/ingest/privacy", "pingline/internal/ops", "pingline/internal/pause", "pingline/internal/plainjson", "pingline/query", "pingline/queue", "pingline/queue/disk", "pingline/sink", "pingline/sink/deadletter", "pingline/sink/store"},
	"pingline/internal/simulate":  {"pingline", "pingline/ingest/privacy", "pingline/internal/command", "pingline/internal/dial", "pingline/internal/node", "pingline/internal/pause", "pingline/internal/terminal", "pingline/internal/unit", "pingline/sim", "pingline/sim/apps", "pingline/sim/audit", "pingline/sim/chaos", "pingline/sim/fault", "pingline/sim/handset", "pingline/sim/network", "pingline/sim/replay", "pingline/sim/report", "pingline/sim/roads"},
	"pingline/internal/dial":      {},
	"pingline/internal/kafkalink": {},
	"pingline/internal/pingproto": {"pingline", "pingline/internal/plainjson"},
	"pingline/ingest/kafka":       {"pingline/ingest/messages", "pingline/internal/kafkalink", "pingline/internal/pingproto"},
	"pingline/ingest/messages":    {"pingline/ingest/mqtt"},

	"pingline/internal/kafkalink/kafkatest": {"pingline/internal/jvm"},
	"pingline/internal/parts":               {"pingline/internal/pause", "pingline/partition", "pingline/queue", "pingline/queue/jetstream"},
	"pingline/internal/standby":             {},
	"pingline/internal/room":                {"pingline/internal/unit", "pingline/queue/disk", "pingline/sink/store"},
	"pingline/internal/rider":               {"pingline", "pingline/internal/command", "pingline/internal/node", "pingline/internal/operator", "pingline/internal/pause", "pingline/internal/peers", "pingline/internal/plainjson", "pingline/internal/rights", "pingline/internal/unit", "pingline/query", "pingline/sink/store"},
	"pingline/internal/terminal":            {},
	"pingline/internal/plainjson":           {},
	"pingline/internal/top":                 {"pingline", "pingline/internal/command", "pingline/internal/dial", "pingline/internal/terminal", "pingline/internal/unit", "pingline/query/status"},

	"pingline/internal/resharding":  {"pingline", "pingline/ingest", "pingline/internal/ops", "pingline/internal/pause", "pingline/internal/plainjson", "pingline/partition", "pingline/queue", "pingline/rollup", "pingline/sink", "pingline/sink/copying", "pingline/sink/moving", "pingline/sink/reshard", "pingline/sink/sets", "pingline/sink/store"},
	"pingline/internal/reshardtool": {"pingline/internal/command", "pingline/internal/operator", "pingline/internal/pause", "pingline/internal/resharding", "pingline/internal/unit", "pingline/sink/moving", "pingline/sink/reshard"},
	"pingline/internal/clustertool": {"pingline/internal/command", "pingline/internal/operator", "pingline/internal/peers", "pingline/internal/unit"},
	"pingline/internal/storecheck":  {"pingline/internal/room", "pingline/sink/store"},

	"pingline/internal/plan":     {"pingline/dedupe", "pingline/internal/unit", "pingline/queue"},
	"pingline/internal/logtool":  {"pingline/internal/command", "pingline/internal/logview", "pingline/internal/operator", "pingline/internal/terminal", "pingline/internal/unit", "pingline/queue", "pingline/queue/backup", "pingline/track/output"},
	"pingline/internal/logview":  {"pingline", "pingline/internal/ops", "pingline/internal/plainjson", "pingline/query", "pingline/queue", "pingline/queue/backup", "pingline/sink/resume", "pingline/sink/route", "pingline/sink/sets"},
	"pingline/internal/operator": {"pingline/internal/command", "pingline/internal/dial"},
	"pingline/queue/backup":      {"pingline/queue", "pingline/queue/disk", "pingline/queue/embedded", "pingline/queue/record"},
	"pingline/internal/copytool": {"pingline", "pingline/internal/command", "pingline/internal/logview", "pingline/internal/node", "pingline/internal/plainjson", "pingline/internal/unit", "pingline/sink/copying", "pingline/sink/store"},
	"pingline/sink/copying":      {"pingline", "pingline/internal/pause", "pingline/queue/disk", "pingline/sink/store"},
	"pingline/internal/meridian": {"pingline"},
	"pingline/internal/pause":    {},
	"pingline/internal/unit":     {},
	"pingline/internal/visitors": {"pingline/dashboards/phone"},
	"pingline/partition":         {"pingline"},
	"pingline/query":             {"pingline", "pingline/ingest", "pingline/internal/plainjson", "pingline/partition", "pingline/query/fleet", "pingline/query/history", "pingline/sink/store"},
	"pingline/query/gather":      {"pingline", "pingline/dedupe", "pingline/ingest", "pingline/partition", "pingline/query/fleet", "pingline/rollup"},
	"pingline/query/fleet":       {"pingline", "pingline/dedupe", "pingline/dedupe/slab", "pingline/ingest", "pingline/partition"},
	"pingline/query/history":     {"pingline", "pingline/partition", "pingline/query/fleet", "pingline/rollup", "pingline/sink/store"},
	"pingline/query/status":      {"pingline"},
	"pingline/query/stream":      {"pingline/query/fleet"},
	"pingline/queue":             {"pingline/queue/cache", "pingline/queue/cursor", "pingline/queue/disk", "pingline/queue/driver", "pingline/queue/jetstream", "pingline/queue/kafka", "pingline/queue/mark", "pingline/queue/record", "pingline/queue/scan", "pingline/queue/trouble"},
	"pingline/queue/cache":       {"pingline/queue/record"},
	"pingline/queue/cursor":      {"pingline/queue/disk", "pingline/queue/record"},
	"pingline/queue/disk":        {},
	"pingline/queue/driver":      {},
	"pingline/queue/embedded":    {"pingline/queue/disk", "pingline/queue/driver"},
	"pingline/queue/jetstream":   {"pingline/queue/driver", "pingline/queue/embedded"},
	"pingline/queue/kafka":       {"pingline/internal/kafkalink", "pingline/queue/driver", "pingline/queue/record"},
	"pingline/queue/queuetest":   {"pingline/queue"},
	"pingline/queue/record":      {},
	"pingline/queue/mark":        {"pingline/queue/record"},
	"pingline/queue/trouble":     {},
	"pingline/queue/scan":        {"pingline/queue/record"},
	"pingline/rollup":            {"pingline", "pingline/partition", "pingline/queue"},
	"pingline/rollup/merge":      {"pingline", "pingline/partition", "pingline/rollup"},
	"pingline/sim":               {"pingline", "pingline/client", "pingline/internal/dial", "pingline/internal/pause", "pingline/sim/apps", "pingline/sim/audit", "pingline/sim/fault", "pingline/sim/handset", "pingline/track"},
	"pingline/sim/apps":          {"pingline", "pingline/client"},
	"pingline/sim/handset":       {"pingline"},
	"pingline/sim/roads":         {"pingline", "pingline/sim/handset"},
	"pingline/sim/audit":         {"pingline", "pingline/internal/unit", "pingline/sim/audit/spill", "pingline/sim/audit/tally", "pingline/sink/store"},
	"pingline/sim/audit/spill":   {},
	"pingline/sim/audit/tally":   {"pingline", "pingline/internal/unit", "pingline/partition", "pingline/sim/audit/spill"}, // of partition H3 alone, the library of others: not how the ingester finds cells
	"pingline/sim/chaos":         {"pingline/internal/pause"},
	"pingline/sim/fault":         {"pingline"},
	"pingline/sim/network":       {"pingline/internal/unit"},
	"pingline/sim/prepared":      {"pingline", "pingline/internal/pause", "pingline/sim", "pingline/track"},
	"pingline/sim/replay":        {"pingline", "pingline/sim", "pingline/track"},
	"pingline/sim/simtest":       {"pingline", "pingline/dedupe", "pingline/track"},
	"pingline/sim/report":        {"pingline", "pingline/internal/unit"},
	"pingline/sink":              {"pingline", "pingline/internal/pause", "pingline/internal/unit", "pingline/partition", "pingline/queue", "pingline/sink/batch", "pingline/sink/deadletter", "pingline/sink/health", "pingline/sink/limit", "pingline/sink/resume", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/batch":        {"pingline", "pingline/partition", "pingline/queue", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/deadletter":   {"pingline", "pingline/internal/pause", "pingline/sink/store"},
	"pingline/sink/health":       {"pingline/sink/deadletter", "pingline/sink/limit", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/limit":        {"pingline/sink/store"},
	"pingline/sink/resume":       {"pingline/internal/unit", "pingline/queue", "pingline/sink/route"},
	"pingline/sink/route":        {"pingline", "pingline/partition", "pingline/queue", "pingline/sink/limit"},
	"pingline/sink/moving":       {"pingline", "pingline/internal/pause", "pingline/internal/unit", "pingline/partition", "pingline/queue/disk", "pingline/sink/copying", "pingline/sink/reshard", "pingline/sink/store"},
	"pingline/sink/reshard":      {"pingline", "pingline/partition", "pingline/queue", "pingline/sink", "pingline/sink/batch", "pingline/sink/deadletter", "pingline/sink/health", "pingline/sink/limit", "pingline/sink/resume", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/sets":         {"pingline", "pingline/internal/unit", "pingline/partition", "pingline/queue", "pingline/sink", "pingline/sink/deadletter", "pingline/sink/reshard", "pingline/sink/resume", "pingline/sink/route"},
	"pingline/sink/store":        {"pingline"},
	"pingline/tools/arrows":      {},
	"pingline/tools/benchstores": {},
	"pingline/tools/benchtable":  {"pingline/internal/influxd", "pingline/internal/natsd", "pingline/internal/pause", "pingline/internal/unit", "pingline/sim", "pingline/sim/prepared"},
	"pingline/tools/gofuzz":      {},
	"pingline/tools/gotest":      {},
	"pingline/tools/upgrade":     {"pingline/internal/influxd", "pingline/internal/pause"},

	"pingline/tools/cluster":         {"pingline/internal/influxd", "pingline/internal/natsd", "pingline/internal/node", "pingline/internal/pause", "pingline/internal/unit", "pingline/partition", "pingline/sim", "pingline/sim/audit", "pingline/tools/cluster/cut", "pingline/tools/cluster/history"},
	"pingline/tools/cluster/cut":     {},
	"pingline/tools/cluster/history": {"pingline", "pingline/internal/pause", "pingline/partition", "pingline/queue/jetstream", "pingline/queue/record"},
	"pingline/track":                 {"pingline", "pingline/internal/meridian", "pingline/track/fit", "pingline/track/output", "pingline/track/values"},
	"pingline/track/fit":             {"pingline"},
	"pingline/track/values":          {"pingline"},
	"pingline/track/output":          {},
	"pingline/track/picture":         {"pingline", "pingline/internal/unit", "pingline/track"},
	"pingline/track/tracktest":       {},
}

// leaves are the folders of contracts: each folder in one is a leaf, a way in or a
// place for pings, unless it is in arrows. A leaf imports the root, its contract and
// what shared has for it.
// So does the suite for all leaves of a contract, and what helps to test one leaf
// stands in a folder …test below it and may import more.
var leaves = map[string]string{
	"pingline/ingest/phone/": "pingline/ingest/phone",
	"pingline/sink/":         "pingline/sink/store",
}

// shared are packages that leaves of a contract may use, and keep to its rules as leaves do.
var shared = map[string][]string{
	"pingline/ingest/phone": {"pingline/ingest/phone/lenient", "pingline/ingest/phone/rounding"},
	"pingline/sink/store": {"pingline/internal/awsqueue", "pingline/internal/kafkalink", "pingline/internal/pingproto", // which the ways in use, too
		"pingline/sink/store/secure"},
}

// leafOf returns the leaf that a package is, or is below of, and its contract.
func leafOf(path string) (leaf, contract string) {
	if _, known := arrows[path]; known {
		return "", ""
	}
	for folder, contract := range leaves {
		if rest, ok := strings.CutPrefix(path, folder); ok && path != contract {
			name, _, _ := strings.Cut(rest, "/")
			if name == "store" || name == "phonetest" { // the suites
				return "", contract
			}
			return folder + name, contract
		}
	}
	return "", ""
}

// homes says in which packages the modules of others are imported, std and
// golang.org/x aside: each in one, or there is a reason.
var homes = map[string][]string{
	"charm.land/bubbletea/v2":                      {"pingline/internal/top"},
	"charm.land/lipgloss/v2":                       {"pingline/internal/top"},
	"github.com/ClickHouse/ch-go":                  {"pingline/sink/clickhouse"},
	"github.com/KimMachineGun/automemlimit":        {"pingline/internal/room"},
	"github.com/MicahParks/keyfunc/v3":             {"pingline/ingest/auth/token"},
	"github.com/MicahParks/jwkset":                 {"pingline/ingest/auth/token"}, // keyfunc's own, told when a set is replaced
	"gopkg.in/natefinch/lumberjack.v2":             {"pingline/ingest/auth/trail"},
	"github.com/golang-jwt/jwt/v5":                 {"pingline/ingest/auth/token"},
	"github.com/Shopify/toxiproxy/v2":              {"pingline/sim/network"},
	"github.com/mdp/qrterminal/v3":                 {"pingline/internal/setup", "pingline/internal/visitors"},
	"rsc.io/qr":                                    {"pingline/internal/setup"},
	"github.com/chromedp/cdproto":                  {"pingline/dashboards/browsertest"},
	"github.com/chromedp/chromedp":                 {"pingline/dashboards/browsertest"},
	"github.com/apache/cassandra-gocql-driver/v2":  {"pingline/sink/cassandra", "pingline/sink/cassandra/cassandratest"},
	"github.com/alecthomas/kong":                   {"pingline/cmd/pingline"},
	"github.com/axiomhq/hyperloglog":               {"pingline/rollup"},
	"github.com/charmbracelet/x/ansi":              {"pingline/internal/top"},
	"github.com/cheggaaa/pb/v3":                    {"pingline/internal/terminal"},
	"github.com/dustin/go-humanize":                {"pingline/internal/unit"},
	"github.com/grafana/grafana-foundation-sdk/go": {"pingline/dashboards/grafana"},
	"github.com/influxdata/influxdb-client-go/v2":  {"pingline/sink/influx"},
	"github.com/influxdata/line-protocol/v2":       {"pingline/sink/deadletter"},
	"github.com/twmb/franz-go":                     {"pingline/ingest/kafka", "pingline/internal/kafkalink", "pingline/internal/kafkalink/kafkatest", "pingline/queue/kafka", "pingline/sink/kafka"}, // a way in, how to reach a Kafka, the log, and a store
	"github.com/twmb/franz-go/pkg/kmsg":            {"pingline/ingest/kafka", "pingline/queue/kafka"},
	"github.com/twmb/franz-go/pkg/kadm":            {"pingline/ingest/kafka", "pingline/internal/kafkalink/kafkatest", "pingline/queue/kafka", "pingline/sink/kafka"},
	"google.golang.org/protobuf":                   {"pingline/internal/pingproto"},
	"github.com/jackc/pgx/v5":                      {"pingline/sink/postgres", "pingline/sink/postgres/postgrestest"},
	"github.com/muktihari/fit":                     {"pingline/track/fit"},
	"github.com/nats-io/nats-server/v2":            {"pingline/internal/natsd", "pingline/queue/embedded"}, // servers that are killed, and in the node
	"github.com/nats-io/nats.go":                   {"pingline/queue/jetstream"},
	"github.com/redis/go-redis/v9":                 {"pingline/sink/redis", "pingline/sink/redis/redistest"},
	"github.com/paulmach/osm":                      {"pingline/sim/roads"},
	"github.com/prometheus/client_golang":          {"pingline/internal/ops"},
	"github.com/rs/zerolog":                        {"pingline/sim/network"}, // toxiproxy logs by it
	"github.com/sony/gobreaker/v2":                 {"pingline/sink/limit"},
	"github.com/uber/h3-go/v4":                     {"pingline/partition"},
	"github.com/eclipse/paho.golang":               {"pingline/ingest/mqtt/subscriber"},
	"github.com/mochi-mqtt/server/v2":              {"pingline/ingest/mqtt/broker"},
	"gonum.org/v1/plot":                            {"pingline/sim/report"},

	// The server, messages that are requests of it without a connection, and what nodes send each other.
	"github.com/valyala/fasthttp": {"pingline/ingest/forward", "pingline/ingest/mqtt/inside", "pingline/ingest/server", "pingline/ingest/server/aside", "pingline/internal/peers"},

	// The routes for pings, the routes for reads, and the rights to both; and a server that does nothing, with
	// which the ingester is compared.
	"github.com/gofiber/fiber/v2": {"pingline/ingest/server", "pingline/ingest/server/aside", "pingline/ingest/server/guard", "pingline/ingest/server/manners", "pingline/ingest/server/pages", "pingline/ingest/server/reads", "pingline/tools/benchtable"},

	// Queues of SQS: how they are found, what is sent, and what is taken.
	"github.com/aws/aws-sdk-go-v2":             {"pingline/ingest/sqs", "pingline/internal/awsqueue", "pingline/sink/sqs"},
	"github.com/aws/aws-sdk-go-v2/config":      {"pingline/internal/awsqueue"},
	"github.com/aws/aws-sdk-go-v2/service/sqs": {"pingline/ingest/sqs", "pingline/internal/awsqueue", "pingline/sink/sqs"},
	"github.com/aws/smithy-go":                 {"pingline/internal/awsqueue"},

	// The file of settings, and files for Grafana and Prometheus.
	"go.yaml.in/yaml/v3": {"pingline/cmd/pingline", "pingline/dashboards/grafana"},

	// Quantiles of the ingester's own times, and of those that its clients see. A
	// load shares no code with the ingester.
	"github.com/HdrHistogram/hdrhistogram-go": {"pingline/internal/ops", "pingline/sim"},

	// All ends speak gzip or zstd: requests of clients, those of a load, and writes to
	// the store. They share nothing else. Ack logs are files, compressed by zstd.
	"github.com/klauspost/compress": {"pingline/ingest/server/inflate", "pingline/sim", "pingline/sim/audit", "pingline/sim/prepared", "pingline/sink/influx"},
}

// listed is a package as go list tells of it.
type listed struct {
	ImportPath, Doc string
	Imports         []string
	Module          *struct {
		Path string
		Main bool
	}
}

func list(t *testing.T, args ...string) (all []listed) {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports,Module"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var pkg listed
		if err := dec.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		all = append(all, pkg)
	}
	return all
}

func ours(path string) bool { return path == "pingline" || strings.HasPrefix(path, "pingline/") }

func TestArrowsBetweenPackages(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		if pkg.Doc == "" {
			t.Errorf("%s has no package doc", pkg.ImportPath)
		}
		allowed, known := arrows[pkg.ImportPath]
		leaf, contract := leafOf(pkg.ImportPath)
		if !known && contract != "" {
			allowed, known = append([]string{"pingline", contract}, shared[contract]...), true
		}
		below := leaf != "" && strings.HasSuffix(pkg.ImportPath, "test")
		main := strings.HasPrefix(pkg.ImportPath, "pingline/cmd/")
		if !known && !main {
			t.Errorf("%s is not in the list of arrows", pkg.ImportPath)
		}
		for _, imp := range pkg.Imports {
			if !ours(imp) {
				continue
			}
			if named, of := leafOf(imp); named != "" && !slices.Contains(shared[of], imp) {
				if pkg.ImportPath != "pingline/internal/node" && leaf != named {
					t.Errorf("%s imports %s: only internal/node names leaves", pkg.ImportPath, imp)
				}
				continue
			}
			if !main && !below && !slices.Contains(allowed, imp) {
				t.Errorf("%s imports %s", pkg.ImportPath, imp)
			}
		}
	}
}

// impure is what a protocol does without: it is a pure function of its request.
var impure = []string{"crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2", "net", "os", "os/exec", "os/signal", "path/filepath", "syscall"}

// clock is what a protocol does not call: the time is that of the request.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestProtocolsArePure(t *testing.T) {
	seen := 0
	for _, s := range sources(t) {
		if _, contract := leafOf("pingline/" + s.dir); contract != "pingline/ingest/phone" || strings.HasSuffix(s.dir, "test") {
			continue
		}
		for i, file := range s.files {
			seen++
			for _, wrong := range impurities(file) {
				t.Errorf("%s/%s %s", s.dir, s.names[i], wrong)
			}
		}
	}
	if seen == 0 {
		t.Error("no protocol was looked at")
	}
	file, err := parser.ParseFile(fset, "x.go", `package x
import ("net/http"; "os"; clock "time")
var a, b, c, d = os.Args, clock.Now(), http.Get, http.StatusOK
func f() { go f(); clock.UnixMilli(0) }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"imports os", "uses time.Now", "uses net/http.Get", "starts a goroutine"}
	if got := impurities(file); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// impurities returns how a file of a protocol depends on more than a request, or
// does more than answer it. Of net/http it may use constants.
func impurities(file *ast.File) (all []string) {
	known := make(map[string]string)
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if slices.Contains(impure, path) {
			all = append(all, "imports "+path)
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." && (path == "time" || path == "net/http") {
			all = append(all, "imports the names of "+path)
		}
		known[name] = path
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			all = append(all, "starts a goroutine")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			name := n.Sel.Name
			switch path := known[x.Name]; {
			case path == "time" && slices.Contains(clock, name),
				path == "net/http" && !strings.HasPrefix(name, "Status") && !strings.HasPrefix(name, "Method"):
				all = append(all, "uses "+path+"."+name)
			}
		}
		return true
	})
	return all
}

// A foreign dependency is met in one package, so that it can be replaced there.
func TestForeignDependenciesHaveAHome(t *testing.T) {
	module, met := make(map[string]string), make(map[string][]string)
	all := list(t, "-deps", "./...")
	for _, pkg := range all {
		if pkg.Module != nil && !pkg.Module.Main && !strings.HasPrefix(pkg.Module.Path, "golang.org/x/") {
			module[pkg.ImportPath] = pkg.Module.Path
		}
	}
	for _, pkg := range all {
		if !ours(pkg.ImportPath) {
			continue
		}
		for _, imp := range pkg.Imports {
			if m := module[imp]; m != "" && !slices.Contains(met[m], pkg.ImportPath) {
				met[m] = append(met[m], pkg.ImportPath)
			}
		}
	}
	for m, in := range met {
		slices.Sort(in)
		if !slices.Equal(in, homes[m]) {
			t.Errorf("%s is imported by %v, its home is %v", m, in, homes[m])
		}
	}
	for m := range homes {
		if met[m] == nil {
			t.Errorf("%s has a home and is not imported", m)
		}
	}
}

// The writer does not depend on what speaks HTTP, not even through another package.
func TestWriterKnowsNoHTTP(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./ingest").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(dep, "github.com/gofiber/") || strings.HasPrefix(dep, "github.com/valyala/") || strings.HasPrefix(dep, "pingline/ingest/") {
			t.Errorf("pingline/ingest depends on %s", dep)
		}
	}
}
