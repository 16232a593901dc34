package influx_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"pingline"
	"testing"

	"pingline/internal/influxd"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store/storetest"
)

// InfluxDB 1.8 and 2.x are held to the contract of stores.
func TestContract(t *testing.T) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Place { return place(t, version) })
		})
	}
}

// place is a new bucket, which another writer may give a field of another type.
func place(t *testing.T, version int) storetest.Place {
	cfg := withPasswords
	if cfg.Version = version; version == 2 {
		cfg.Token = ""
	}
	server := influxd.Run(t, cfg)
	b := influxtest.Open(t, influxtest.Access(server, "pingline"))
	wrong := influxtest.Access(server, "pingline")
	wrong.Token = "admin:wrong"
	return storetest.Place{
		Store:    b,
		Intruder: influxtest.Open(t, wrong),
		Kill:     func() error { server.Kill(); return nil },
		Restart:  func() error { return server.Restart(context.Background()) },
		Freeze:   server.Pause,
		Thaw:     server.Continue,
		Points:   func(ctx context.Context, name string) (int, error) { return count(ctx, server, name) },
		Refuse: func() (pingline.Entry, error) {
			e := storetest.Fleet(99, 1)[0]
			e.Event = "sos"
			line := fmt.Sprintf("location,rider=stranger event=1.5 %d000000\n", e.At-1)
			return e, b.Write(t.Context(), influxtest.Rows(line))
		},
	}
}

// count returns how many points of a measurement a bucket has.
func count(ctx context.Context, server *influxd.Server, name string) (int, error) {
	params := url.Values{"q": {fmt.Sprintf(`SELECT count("pings") FROM %q`, name)}, "db": {"pingline"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL()+"/query?"+params.Encode(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Token "+server.Token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	var said struct {
		Results []struct {
			Series []struct{ Values [][]any }
		}
	}
	if err := json.Unmarshal(text, &said); err != nil || len(said.Results) == 0 || len(said.Results[0].Series) == 0 {
		return 0, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return int(said.Results[0].Series[0].Values[0][1].(float64)), nil
}
