package grafana

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

const (
	folder    = "Pingline" // of Grafana
	sourceUID = "pingline" // of the data source that the rules ask
)

// The file that has Grafana read the boards.
type (
	providerFile struct {
		APIVersion int        `json:"apiVersion"`
		Providers  []provider `json:"providers"`
	}
	provider struct {
		Name      string          `json:"name"`
		Folder    string          `json:"folder"`
		FolderUID string          `json:"folderUid"`
		Type      string          `json:"type"`
		Options   providerOptions `json:"options"`
	}
	providerOptions struct {
		Path string `json:"path"`
	}
)

// The file that has Grafana make data sources.
type (
	sourceFile struct {
		APIVersion  int          `json:"apiVersion"`
		DataSources []dataSource `json:"datasources"`
	}
	dataSource struct {
		Name    string            `json:"name"`
		UID     string            `json:"uid"`
		Type    string            `json:"type"`
		Access  string            `json:"access"`
		URL     string            `json:"url"`
		Default bool              `json:"isDefault"`
		Data    map[string]any    `json:"jsonData"`
		Secret  map[string]string `json:"secureJsonData"`
	}
)

// dataSources returns data sources that answer InfluxQL, on 1.8 and on 2.x. Their
// tokens are taken from the environment of Grafana.
func dataSources(sources []Source) (list []dataSource) {
	for i, s := range sources {
		list = append(list, dataSource{
			Name: sourceName(s.Shard), UID: sourceUIDOf(i, s.Shard), Type: influxType, Access: "proxy", URL: s.URL, Default: i == 0,
			Data:   map[string]any{"dbName": s.Database, "httpHeaderName1": "Authorization", "timeInterval": step},
			Secret: map[string]string{"httpHeaderValue1": "Token $" + tokenVariable(s.Shard)},
		})
	}
	return list
}

// provisioning returns the files for Grafana besides the boards, and for Prometheus.
func provisioning(sources []Source) (list []Generated, err error) {
	alerts, err := alertRules()
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		path  string
		value any
	}{
		{"provisioning/alerting/pingline.yaml", alerts},
		{"provisioning/dashboards/pingline.yaml", providerFile{1, []provider{{"pingline", folder, "pingline", "file", providerOptions{"/var/lib/grafana/dashboards/pingline"}}}}},
		{"provisioning/datasources/pingline.yaml", sourceFile{1, dataSources(sources)}},
		{"prometheus/rules.yaml", promRules()},
	} {
		text, err := asYAML(f.value)
		if err != nil {
			return nil, err
		}
		list = append(list, Generated{f.path, text})
	}
	return list, nil
}

// asYAML writes what JSON says of a value as YAML for people, keys in the same order.
func asYAML(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	plain(&tree)
	text, err = yaml.Marshal(&tree)
	return append([]byte("# Made by dashboards/grafana: go generate ./dashboards/grafana\n"), text...), err
}

// plain takes the style of JSON away.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, inner := range n.Content {
		plain(inner)
	}
}
