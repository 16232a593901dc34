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

	"dedupe":  "pingline dedupe --sweep ride.gpx --out=kept.gpx --svg=ride.svg",
	"plan":    "pingline plan --riders=20000 --interval=5s --hours=12",
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
