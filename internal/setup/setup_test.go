package setup

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/ingest/auth"
	"pingline/internal/command"
)

// added runs pingline phone add, and returns what it prints, and the key.
func added(t *testing.T, c addPhoneCmd) (out, key string) {
	t.Helper()
	if c.Keys == "" {
		c.Keys = filepath.Join(t.TempDir(), "keys")
	}
	if c.Device == "" {
		c.Device = "phone"
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if err := c.Run(&command.Program{Context: t.Context(), Stdout: &stdout, Stderr: &stderr}); err != nil {
		t.Fatal(err)
	}
	text := stdout.String()
	at := strings.Index(text, "pl_")
	if at < 0 {
		t.Fatalf("no key in %s", text)
	}
	key = text[at : at+len("pl_")+43]
	if strings.Contains(stderr.String(), key) {
		t.Error("the key is among what a log would have")
	}
	return text, key
}

const server = "https://pings.example.org"

// The link of each app has the address, the rider and the key where the app looks for them.
func TestLinks(t *testing.T) {
	link := func(out string) *url.URL {
		t.Helper()
		_, rest, _ := strings.Cut(out, "on the phone:\n\n")
		u, err := url.Parse(strings.SplitN(rest, "\n", 2)[0])
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	t.Run("owntracks", func(t *testing.T) {
		out, key := added(t, addPhoneCmd{Rider: "ana müller+1", App: "owntracks", URL: server + "/", Device: "pixel"})
		u := link(out)
		raw, err := base64.StdEncoding.DecodeString(u.Query().Get("inline"))
		if err != nil || u.Scheme != "owntracks" || u.Path != "/config" {
			t.Fatal(u, err)
		}
		var got map[string]any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{"_type": "configuration", "mode": 3.0, "url": server + "/v1/owntracks", "auth": true, "username": "ana müller+1", "password": key, "deviceId": "pixel", "tid": "+1"} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
	})
	t.Run("owntracks by MQTT", func(t *testing.T) {
		for at, want := range map[string]map[string]any{
			"mqtts://pings.example.org":  {"mode": 0.0, "host": "pings.example.org", "port": 8883.0, "tls": true, "username": "ana", "deviceId": "pixel", "pubQos": 1.0, "cleanSession": false},
			"mqtt://[::1]:1883/":         {"mode": 0.0, "host": "::1", "port": 1883.0, "tls": false},
			"mqtt://pings.example.org:9": {"port": 9.0},
		} {
			out, key := added(t, addPhoneCmd{Rider: "ana", App: "owntracks", URL: at, Device: "pixel"})
			raw, err := base64.StdEncoding.DecodeString(link(out).Query().Get("inline"))
			var got map[string]any
			if err = errors.Join(err, json.Unmarshal(raw, &got)); err != nil {
				t.Fatal(err)
			}
			for name, want := range want {
				if got[name] != want {
					t.Errorf("%s: %s is %v, want %v", at, name, got[name], want)
				}
			}
			if got["password"] != key || got["url"] != nil || !strings.Contains(out, "mode MQTT") {
				t.Errorf("%s: %s", at, out)
			}
		}
		for _, c := range []addPhoneCmd{
			{Rider: "ana", App: "overland", URL: "mqtts://pings.example.org"}, {Rider: "ana", App: "owntracks", URL: "mqtts://pings.example.org:99999"},
			{Rider: "ana", App: "owntracks", URL: "mqtts://pings.example.org", Friend: []string{"ben"}}, {Rider: "ana", App: "traccar", URL: "https://pings.example.org", Friend: []string{"ben"}},
			{Rider: "ana", App: "owntracks", URL: "mqtts://pings.example.org/x"}, {Rider: "ana", App: "owntracks", URL: "mqtt://ana:pl_x@pings.example.org"},
		} {
			flag := "--url: "
			if c.Friend != nil {
				flag = "--friend: "
			}
			if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), flag) {
				t.Errorf("%s at %s: %v", c.App, c.URL, err)
			}
		}
	})
	t.Run("overland", func(t *testing.T) {
		out, key := added(t, addPhoneCmd{Rider: "ana&b", App: "overland", URL: server})
		if q := link(out).Query(); q.Get("url") != server+"/v1/overland" || q.Get("token") != key || q.Get("device_id") != "ana&b" {
			t.Error(q)
		}
	})
	t.Run("traccar", func(t *testing.T) {
		out, key := added(t, addPhoneCmd{Rider: "ana", App: "traccar", URL: server})
		if u := link(out); u.Host == "action" || u.Query().Get("url") != server+"/v1/osmand/"+key || u.Query().Get("id") != "ana" {
			t.Error(u)
		}
	})
	t.Run("browser", func(t *testing.T) {
		out, key := added(t, addPhoneCmd{Rider: "ana b&c", App: "browser", URL: server})
		u := link(out)
		given, err := url.ParseQuery(u.EscapedFragment())
		if err != nil || u.Path != "/phone" || u.RawQuery != "" || given.Get("rider") != "ana b&c" || given.Get("key") != key {
			t.Error(u, err)
		}
	})
	t.Run("osmand", func(t *testing.T) {
		out, key := added(t, addPhoneCmd{Rider: "ana b", App: "osmand", URL: server})
		if !strings.Contains(out, server+"/v1/osmand/"+key+"?id=ana+b&lat={0}&lon={1}&timestamp={2}") || strings.Contains(out, "scan") {
			t.Error(out)
		}
	})
}

// The key sends as the rider, and does nothing else.
func TestKeyOfAPhone(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	added(t, addPhoneCmd{Rider: "ana", App: "overland", URL: server, Keys: keys, NoQR: true})
	rows, err := auth.ReadKeys(keys)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if r := rows[0]; r.Name != "ana" || strings.Join(r.Scopes, ",") != "write" || strings.Join(r.Riders, ",") != "ana" || !r.Expires.IsZero() {
		t.Errorf("%+v", r)
	}
	// A second phone of a rider has a key of another name.
	c := addPhoneCmd{Rider: "ana", App: "overland", URL: server, Keys: keys, Device: "phone"}
	if err := c.Run(&command.Program{Context: t.Context(), Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second key of the name: %v", err)
	}
	added(t, addPhoneCmd{Rider: "ana", App: "overland", URL: server, Keys: keys, Name: "ana-watch"})
}

func TestFilesOfAPhone(t *testing.T) {
	dir := t.TempDir()
	png, otrc, profile := filepath.Join(dir, "a.png"), filepath.Join(dir, "a.otrc"), filepath.Join(dir, "a.properties")
	_, key := added(t, addPhoneCmd{Rider: "ana", App: "owntracks", URL: server, Png: png, Out: otrc})
	picture, err := os.ReadFile(png)
	if err != nil || !bytes.HasPrefix(picture, []byte("\x89PNG")) {
		t.Error("no picture", err)
	}
	if text, err := os.ReadFile(otrc); err != nil || !json.Valid(text) || !bytes.Contains(text, []byte(key)) {
		t.Errorf("%s %v", text, err)
	}
	_, key = added(t, addPhoneCmd{Rider: "ana", App: "gpslogger", URL: server, Out: profile})
	text, err := os.ReadFile(profile)
	if err != nil || !bytes.Contains(text, []byte("log_customurl_basicauth_password="+key+"\n")) || !bytes.Contains(text, []byte("log_customurl_url="+server+"/v1/gpslogger\n")) {
		t.Errorf("%s %v", text, err)
	}
	for _, path := range []string{png, otrc, profile} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	keys := filepath.Join(dir, "keys")
	free := filepath.Join(dir, "free.png")
	for _, tt := range []struct {
		c    addPhoneCmd
		want string
	}{
		{addPhoneCmd{App: "osmand", Png: filepath.Join(dir, "b.png")}, "--png: OsmAnd (Android) opens no link"},
		{addPhoneCmd{App: "overland", Out: filepath.Join(dir, "b")}, "--out: Overland (iOS) has no file"},
		{addPhoneCmd{App: "owntracks", Png: free, Out: otrc}, "--out: "}, // is there already
		{addPhoneCmd{App: "owntracks", Png: filepath.Join(dir, "none", "a.png")}, "--png: "},
		{addPhoneCmd{App: "overland", Name: strings.Repeat("a", 65)}, "--name: length 65 not in [1, 64]"},
	} {
		tt.c.Rider, tt.c.URL, tt.c.Keys = "ana", server, keys
		if err := tt.c.Run(&command.Program{Context: t.Context(), Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if _, err := os.Stat(keys); !os.IsNotExist(err) {
		t.Error("a phone that could not be set up left a key")
	}
	if _, err := os.Stat(free); !os.IsNotExist(err) {
		t.Error("a phone that could not be set up left a file")
	}
}

func TestWrongPhones(t *testing.T) {
	for _, tt := range []struct {
		c    addPhoneCmd
		want string
	}{
		{addPhoneCmd{Rider: "a\\b", App: "overland", URL: server}, "RIDER: "},
		{addPhoneCmd{Rider: "ana*", App: "overland", URL: server}, "RIDER: a phone sends for a single rider"},
		{addPhoneCmd{Rider: "*", App: "overland", URL: server}, "RIDER: a phone sends for a single rider"},
		{addPhoneCmd{Rider: "ana", App: "other", URL: server}, "--app: \"other\" is none of owntracks"},
		{addPhoneCmd{Rider: "ana", App: "overland", URL: "pings.example.org"}, "--url: "},
		{addPhoneCmd{Rider: "ana", App: "overland", URL: "https://user:secret@x"}, "--url: "},
		{addPhoneCmd{Rider: "ana", App: "overland", URL: "https://x?key=1"}, "--url: "},
		{addPhoneCmd{Rider: "ana", App: "overland", URL: "https://x/a b"}, "--url: "},
		{addPhoneCmd{Rider: "ana", App: "browser", URL: "http://pings.example.org"}, "--url: \"http://pings.example.org\" is not https"},
	} {
		if err := tt.c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.c, err, tt.want)
		}
	}
}

// Over plain HTTP the key can be read on its way, however the URL is written.
func TestPlainHTTPIsWarnedOf(t *testing.T) {
	for at, warns := range map[string]bool{
		"http://pings.example.org": true, "HTTP://pings.example.org": true, "http://[2001:db8::1]:8080": true,
		"https://pings.example.org": false, "http://localhost:8080": false, "http://127.0.0.1:8080": false, "http://[::1]:8080": false,
	} {
		c := addPhoneCmd{Rider: "ana", App: "overland", URL: at, Keys: filepath.Join(t.TempDir(), "keys")}
		var stderr bytes.Buffer
		if err := errors.Join(c.Validate(), c.Run(&command.Program{Context: t.Context(), Stdout: &bytes.Buffer{}, Stderr: &stderr})); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(stderr.String(), "warning") != warns {
			t.Errorf("%s: %s", at, stderr.String())
		}
	}
}
