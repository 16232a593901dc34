package setup

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// newSender has all that a phone has to know.
type newSender struct {
	server string // URL, without a slash at its end
	rider  string
	device string
	key    string
}

// instructions are how an app is told.
type instructions struct {
	steps []string // for a person to do and to type
	link  string   // opens the app, which then asks whether to take the settings; "": there is none
	name  string   // of the file; "": there is none
	file  string
}

// app is an app that people have.
type app struct {
	name, title string
	sheet       func(a newSender) instructions
}

// apps are those that Pingline can tell how to send. The forms of links and files are of
// the apps' own documentation and source, named in docs/phones.
var apps = []app{
	{"owntracks", "OwnTracks (Android, iOS)", ownTracks},
	{"overland", "Overland (iOS)", overland},
	{"traccar", "Traccar Client (Android, iOS)", traccar},
	{"gpslogger", "GPSLogger (Android)", gpsLogger},
	{"osmand", "OsmAnd (Android)", osmAnd},
	{byBrowser, "A browser, with no app", browser},
}

// byBrowser is the name of the page for phones among the apps.
const byBrowser = "browser"

func appNames() (names []string) {
	for _, a := range apps {
		names = append(names, a.name)
	}
	return names
}

// ownTracks has HTTP mode, or at a URL of MQTT that mode, and the key as password
// (owntracks/booklet: features/remoteconfig.md, tech/json.md).
func ownTracks(a newSender) instructions {
	tid := a.rider[max(0, len(a.rider)-2):]
	settings := map[string]any{
		"_type": "configuration", "auth": true, "username": a.rider, "password": a.key, "deviceId": a.device,
		"tid": strings.ToUpper(strings.ToValidUTF8(tid, "")),
	}
	var connect []string
	if host, port, secure, ok := broker(a.server); ok {
		settings["mode"], settings["host"], settings["port"], settings["tls"], settings["pubQos"], settings["cleanSession"] = 0, host, port, secure, 1, false
		tls := "off"
		if secure {
			tls = "on"
		}
		connect = []string{"Preferences, Connection: mode MQTT", fmt.Sprintf("Host: %s, port %d, TLS %s", host, port, tls)}
	} else {
		settings["mode"], settings["url"] = 3, a.server+"/v1/owntracks"
		connect = []string{"Preferences, Connection: mode HTTP", "URL: " + a.server + "/v1/owntracks"}
	}
	config, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return instructions{
		steps: append(connect,
			"Identification: username "+a.rider+", password "+a.key+", device ID "+a.device,
			"Reporting: allow the location at all times",
		),
		link: "owntracks:///config?inline=" + url.QueryEscape(base64.StdEncoding.EncodeToString(config)),
		name: ".otrc", file: string(config) + "\n",
	}
}

// broker returns where a URL of MQTT leads, and false for another URL.
func broker(server string) (host string, port int, secure, ok bool) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "mqtt" && u.Scheme != "mqtts" {
		return "", 0, false, false
	}
	secure = u.Scheme == "mqtts"
	if port = 1883; secure {
		port = 8883
	}
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return "", 0, false, false
		}
	}
	return u.Hostname(), port, secure, u.Hostname() != "" && strings.Trim(u.Path, "/") == ""
}

// overland sends the key as a bearer token (aaronpk/Overland-iOS: README.md).
func overland(a newSender) instructions {
	return instructions{
		steps: []string{
			"Settings: receiver endpoint " + a.server + "/v1/overland",
			"Access token: " + a.key,
			"Device ID: " + a.rider,
			"Tracker: allow the location always; visits need no server",
		},
		link: "overland://setup?" + url.Values{"url": {a.server + "/v1/overland"}, "token": {a.key}, "device_id": {a.rider}}.Encode(),
	}
}

// traccar has no place for a key but the URL (traccar/traccar-client: lib/configuration_service.dart).
func traccar(a newSender) instructions {
	at := a.server + "/v1/osmand/" + a.key
	return instructions{
		steps: []string{
			"Settings: server URL " + at,
			"Device identifier: " + a.rider,
			"Offline buffering: on",
		},
		link: "org.traccar.client://config?" + url.Values{"url": {at}, "id": {a.rider}, "buffer": {"true"}}.Encode(),
	}
}

// gpsLogger is set up by a file of properties (mendhak/gpslogger: PreferenceNames.java).
func gpsLogger(a newSender) instructions {
	const body = "lat=%LAT&lon=%LON&time=%TIME&acc=%ACC&alt=%ALT&spd=%SPD&dir=%DIR&batt=%BATT"
	at := a.server + "/v1/gpslogger"
	return instructions{
		steps: []string{
			"Logging details: log to custom URL",
			"URL: " + at,
			"HTTP method: POST",
			"HTTP body: " + body,
			"Basic authentication: username " + a.rider + ", password " + a.key,
			"Or copy the file of --out into the folder of profiles, and load it there",
		},
		name: ".properties",
		file: strings.Join([]string{
			"log_customurl_enabled=true", "log_customurl_url=" + at, "log_customurl_method=POST", "log_customurl_body=" + body,
			"log_customurl_basicauth_username=" + a.rider, "log_customurl_basicauth_password=" + a.key, "autocustomurl_enabled=true",
		}, "\n") + "\n",
	}
}

// osmAnd fills in a URL, speed in m/s (osmand.net/docs: trip recording plugin).
func osmAnd(a newSender) instructions {
	return instructions{steps: []string{
		"Plugins, Trip recording, Online tracking: web address",
		fmt.Sprintf("%s/v1/osmand/%s?id=%s&lat={0}&lon={1}&timestamp={2}&hdop={3}&altitude={4}&speed={5}&bearing={6}&speed_unit=mps", a.server, a.key, url.QueryEscape(a.rider)),
		"Time buffer: as long as you like; what was not sent is sent later",
	}}
}

// browser has all in the fragment of the page's address, which is sent to no server
// (dashboards/phone).
func browser(a newSender) instructions {
	return instructions{
		steps: []string{
			"Open " + a.server + "/phone",
			"Rider: " + a.rider,
			"Key: " + a.key,
			"Start, and allow the location; leave the page open, and in front",
		},
		link: a.server + "/phone#" + url.Values{"rider": {a.rider}, "key": {a.key}}.Encode(),
	}
}
