package main

import (
	"strings"

	"github.com/alecthomas/kong"
)

// examples are command lines that each do something useful, by command; "" is the
// program itself. Each line fits 80 columns with its indentation.
var examples = map[string]string{
	"":           "pingline demo --for=30s\npingline serve --data-dir=/var/lib/pingline",
	"serve":      "pingline serve --data-dir=/var/lib/pingline --influx-token-file=/etc/influx\npingline serve --config=pingline.yaml --check-config --connect",
	"demo":       "pingline demo --for=1m --riders=10000 --rate=2000",
	"deadletter": "pingline deadletter list --data-dir=/var/lib/pingline",

	"deadletter list":   "pingline deadletter list --data-dir=/var/lib/pingline --shard=a",
	"deadletter replay": "pingline deadletter replay --data-dir=/var/lib/pingline --reason=retention",
	"deadletter accept": "pingline deadletter accept --shard=a --rows=1000",

	"sim":       "pingline sim run --target=http://localhost:8080 --riders=1000 --for=1m",
	"sim run":   "pingline sim run --target=http://localhost:8080 --rate=2000 --html=run.html",
	"sim audit": "pingline sim audit --ack-log=run.acks --target=http://localhost:8080",

	"sim replay": "pingline sim replay ride.gpx --target=http://localhost:8080 --speed=50x",

	"chaos": "pingline chaos --target=http://staging:8080 --hook=hook.sh --for=10m",

	"phone":     "pingline phone add ana --app=owntracks --url=https://a.example --keys=keys",
	"phone add": "pingline phone add ana --app=owntracks --url=https://a.example --keys=keys",

	"dedupe":       "pingline dedupe --sweep ride.gpx --out=kept.gpx --svg=ride.svg",
	"plan":         "pingline plan --riders=20000 --interval=5s --hours=12",
	"top":          "pingline top --target=http://localhost:8080\npingline top --once --json",
	"rider":        "pingline rider export r-000123 --from=2026-03-01T00:00:00Z",
	"rider delete": "pingline rider delete r-000123 --server=http://127.0.0.1:9090",
	"rider export": "pingline rider export r-000123 --format=geojson",

	"log":         "pingline log inspect",
	"log inspect": "pingline log inspect --data-dir=/var/lib/pingline",
	"log tail":    "pingline log tail --follow",
	"log export":  "pingline log export --from=2026-03-01T00:00:00Z --out=log.ndjson --resume",
	"log backup":  "pingline log backup --out=pingline.tar",
	"log restore": "pingline log restore pingline.tar --data-dir=/var/lib/pingline",

	"copy": "pingline copy url=http://a:8086,bucket=b url=clickhouse://ch:8123/pingline",

	"reshard":        "pingline reshard plan --add=name=c,url=http://c:8086",
	"reshard plan":   "pingline reshard plan --weight=b=2",
	"reshard start":  "pingline reshard start --add=name=c,url=http://c:8086 --history=move --yes",
	"reshard status": "pingline reshard status --json",
	"reshard pause":  "pingline reshard pause",
	"reshard resume": "pingline reshard resume",
	"reshard verify": "pingline reshard verify --full",
	"reshard delete": "pingline reshard delete --yes",
	"reshard cut":    "pingline reshard cut --yes",
	"reshard finish": "pingline reshard finish --yes",
	"reshard abort":  "pingline reshard abort --yes",

	"cluster":        "pingline cluster status --watch",
	"cluster status": "pingline cluster status --server=http://127.0.0.1:9090",
	"cluster drain":  "pingline cluster drain --yes",
	"cluster resume": "pingline cluster resume",

	"grafana": "pingline grafana --shard=name=a,url=http://a:8086 --out=grafana",
	"schema":  "pingline schema clickhouse --server-version=24.8",
	"key":     "pingline key add ana --scope=write --keys=/etc/pingline/keys",

	"key add":    "pingline key add depot --rider='bus-*' --scope=read --keys=/etc/keys",
	"key list":   "pingline key list --keys=/etc/pingline/keys",
	"key revoke": "pingline key revoke ana --keys=/etc/pingline/keys",
	"key rotate": "pingline key rotate depot --keys=/etc/pingline/keys --overlap=7d",

	"key pseudonyms": "pingline key pseudonyms /etc/pingline/pseudonyms",

	"version": "pingline version --all",
}

// addExamples puts examples into the help of commands, before the flags.
func addExamples(k *kong.Kong) error {
	var add func(node *kong.Node, path string)
	add = func(node *kong.Node, path string) {
		if lines := examples[path]; lines != "" {
			node.Detail = "Example:\n\n    " + strings.ReplaceAll(lines, "\n", "\n    ")
		}
		for _, child := range node.Children {
			add(child, strings.TrimPrefix(path+" "+child.Name, " "))
		}
	}
	add(k.Model.Node, "")
	return nil
}
