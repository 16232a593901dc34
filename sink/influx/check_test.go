package influx_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// told is what a check found, by what it looked at: "ok", or the remedy.
func told(list []store.Finding) map[string]string {
	all := map[string]string{}
	for _, f := range list {
		if all[f.What] = f.Remedy; f.Remedy == "" {
			all[f.What] = "ok"
		}
	}
	return all
}

// A check tells what a token may not do, and a bucket that is missing, and leaves no
// point.
func TestCheck(t *testing.T) {
	influxtest.EachVersion(t, withPasswords, func(t *testing.T, server *influxd.Server) {
		for _, tt := range []struct {
			name, token, bucket string
			failed              [3]string // by version of InfluxDB
			read                string    // the remedy where reading fails
		}{
			{"the owner", server.Token(), "pingline", [3]string{}, ""},
			{"no such policy", server.Token(), "pingline/week", [3]string{1: "bucket read write", 2: "bucket read write"}, "name another one"},
			{"no such bucket", server.Token(), "nothing", [3]string{1: "bucket read write", 2: "bucket read write"}, "name another one"},
			{"a wrong token", "admin:wrong", "pingline", [3]string{1: "read write", 2: "read write"}, "a token that is valid"},
			{"the right to write", influxtest.CreateToken(t, server, false, true), "pingline", [3]string{1: "read", 2: "read"}, "the right to read"},
			{"the right to read", influxtest.CreateToken(t, server, true, false), "pingline", [3]string{1: "write", 2: "write"}, ""},
			{"no rights", influxtest.CreateToken(t, server, false, false), "pingline", [3]string{1: "read write", 2: "read write"}, "the right to read"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				cfg := influxtest.Access(server, tt.bucket)
				cfg.Token = tt.token
				list := influxtest.Open(t, cfg).Check(t.Context())
				if remedy := told(list)["read"]; remedy != "ok" && !strings.Contains(remedy, cmp.Or(tt.read, "none")) {
					t.Errorf("remedy %q where reading fails, want %q", remedy, tt.read)
				}
				var failed []string
				for _, f := range list {
					if f.Remedy != "" {
						failed = append(failed, f.What)
					}
					if f.Found == "" || strings.Contains(f.Found+f.Remedy, "wrong") || strings.Contains(f.Found+f.Remedy, "secret") {
						t.Errorf("%s: %q; %q", f.What, f.Found, f.Remedy)
					}
				}
				slices.Sort(failed)
				if got := strings.Join(failed, " "); got != tt.failed[server.Version()] || len(list) != 5 {
					t.Errorf("failed %q, want %q: %+v", got, tt.failed[server.Version()], list)
				}
			})
		}
		if points, err := server.Points(t.Context(), "pingline"); server.Version() == 1 && (err != nil || len(points) != 0) {
			t.Errorf("the bucket has %q, %v", points, err)
		}
	})
}

// An organization that is not there, or is not named, is told as such and not as a
// missing bucket.
func TestCheckOfAnUnknownOrganization(t *testing.T) {
	server := influxd.Run(t, influxd.Config{Version: 2})
	for org, want := range map[string][2]string{
		"acme": {`"pingline": there is no organization "acme"`, "name an organization that is there"},
		"":     {`"pingline": no organization is named`, "name the organization"},
	} {
		cfg := influxtest.Access(server, "pingline")
		cfg.Org = org
		for _, f := range influxtest.Open(t, cfg).Check(t.Context()) {
			if f.What == "bucket" && (f.Found != want[0] || f.Remedy != want[1]) {
				t.Errorf("organization %q: %s; %s, want %v", org, f.Found, f.Remedy, want)
			}
			if strings.Contains(f.Remedy, "create") {
				t.Errorf("organization %q: %s: %s", org, f.What, f.Remedy)
			}
		}
	}
}

// A token file that is not there is no matter of the URL.
func TestCheckWithoutTokenFile(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	got := told(influxtest.Open(t, influx.Config{URL: server.URL, TokenFile: t.TempDir() + "/token"}).Check(t.Context()))
	if len(got) != 1 || !strings.Contains(got["reachable"], "token file") {
		t.Errorf("%v", got)
	}
}

// A server that is not there, is something else, or has another time is told as such.
func TestCheckOfAnotherServer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   map[string]string
	}{
		{"a web server", func(http.ResponseWriter, *http.Request) {}, map[string]string{"reachable": "check the URL"}},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, map[string]string{"reachable": "check the URL"}},
		{"a clock an hour ahead", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.Header().Set("X-Influxdb-Version", "1.8.10")
			w.WriteHeader(204)
		}, map[string]string{"reachable": "ok", "clock": "NTP"}},
		{"a clock two seconds behind", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-2*time.Second).UTC().Format(http.TimeFormat))
			w.Header().Set("X-Influxdb-Version", "1.8.10")
			w.WriteHeader(204)
		}, map[string]string{"reachable": "ok", "clock": "ok"}},
	} {
		server := httptest.NewServer(tt.answer)
		got := told(influxtest.Open(t, influx.Config{URL: server.URL}).Check(t.Context()))
		for what, want := range tt.want {
			if !strings.Contains(got[what], want) {
				t.Errorf("%s: %s: %q, want %q", tt.name, what, got[what], want)
			}
		}
		server.Close()
		if got := told(influxtest.Open(t, influx.Config{URL: server.URL}).Check(t.Context())); len(got) != 1 || !strings.Contains(got["reachable"], "runs") {
			t.Errorf("a server that is gone: %v", got)
		}
	}
}
