package influx_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
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
	access := influxtest.Access(server, "pingline")
	access.Compress = version == 2
	b := influxtest.Open(t, access)
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

// A server on this machine gets writes as they are, and each server takes both forms.
func TestWritesAreCompressedUnlessLocal(t *testing.T) {
	var encodings []string
	watch := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encodings = append(encodings, r.Header.Get("Content-Encoding"))
		if r.ContentLength <= 0 {
			t.Error("the length of the body is not told")
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer watch.Close()
	rows := influxtest.Rows("location,rider=r pings=1i 1000000000\n")
	for _, compress := range []bool{false, true} {
		if err := influxtest.Open(t, influx.Config{URL: watch.URL, Compress: compress}).Write(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"", "gzip"}; !slices.Equal(encodings, want) {
		t.Errorf("encodings %q, want %q", encodings, want)
	}
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			server := influxd.Run(t, influxd.Config{Version: version})
			for i, compress := range []bool{false, true} {
				cfg := influxtest.Access(server, "pingline")
				cfg.Compress = compress
				line := fmt.Sprintf("location,rider=r pings=1i %d000000\n", 1_760_000_000_000+i)
				if err := influxtest.Open(t, cfg).Write(t.Context(), influxtest.Rows(line)); err != nil {
					t.Error(err)
				}
			}
			if n, err := count(t.Context(), server, "location"); n != 2 || err != nil {
				t.Errorf("%d points, %v", n, err)
			}
		})
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
