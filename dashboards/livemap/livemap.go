// Package livemap is the live map: a page for browsers that shows where the fleet is and
// was, and how the node is.
//
// The page is built from the TypeScript in web by make livemap, and embedded. Without the
// bundle the package compiles, and Built says so. The page asks for nothing but the routes
// of the API on the address that it came from, and for tiles of the host that Config
// names, if any; its Content-Security-Policy forbids all else.
package livemap

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"pingline/dashboards/site"
)

//go:embed all:dist
var bundle embed.FS

// Config describes the node to the page.
type Config struct {
	Version     string
	MaxError    float64 // metres that a dropped ping may lie off its track
	AccuracyCap float64 // metres
	Resolutions []int   // of the roll-up, finest first; empty: none
	Levels      []Level // of shedding, from 0

	Basemap         string // file of PMTiles with a street map; "" is none
	TileURL         string // of an online map, with {z}, {x} and {y}; "" is none
	TileAttribution string // whom the map thanks for it, as text
}

// Level is a shed level, for people.
type Level struct {
	Name     string   `json:"name"`
	GivingUp []string `json:"giving_up"` // sentences
}

// Site answers GET / and the paths below /map/. It is safe for concurrent use.
type Site struct {
	*site.Assets
	basemap *basemap // nil if there is none
}

// ErrNotBuilt is returned by New where the bundle is not embedded.
var ErrNotBuilt = errors.New("the live map is not in this binary: build it by make livemap, which needs Node and npm, and then make build")

// Built reports whether the bundle is embedded.
func Built() bool {
	_, err := fs.Stat(bundle, "dist/index.html.gz")
	return err == nil
}

// New returns the map, ErrNotBuilt, or an error that names the setting that is wrong.
func New(cfg Config) (*Site, error) {
	policy, err := securityPolicy(cfg.TileURL)
	if err != nil {
		return nil, fmt.Errorf("--tile-url: %w", err)
	}
	if !Built() {
		return nil, ErrNotBuilt
	}
	m := &Site{Assets: site.New(policy)}
	err = m.AddBundle(bundle, "dist", func(name string) string {
		switch {
		case name == "index.html":
			return "/"
		case strings.HasPrefix(name, "assets/"):
			return "/map/" + name
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	if cfg.Basemap != "" {
		if m.basemap, err = openBasemap(cfg.Basemap); err != nil {
			return nil, fmt.Errorf("--basemap: %w", err)
		}
	}
	settings, err := json.Marshal(said(&cfg))
	if err != nil {
		return nil, err
	}
	m.Add("/map/settings.json", site.Asset{Body: settings})
	return m, nil
}

// said is the Config as the page reads it.
func said(cfg *Config) map[string]any {
	all := map[string]any{
		"version": cfg.Version, "max_error": cfg.MaxError, "accuracy_cap": cfg.AccuracyCap,
		"resolutions": append([]int{}, cfg.Resolutions...), "levels": append([]Level{}, cfg.Levels...),
	}
	if cfg.Basemap != "" {
		all["basemap"] = strings.TrimPrefix(basemapPath, "/")
	}
	if cfg.TileURL != "" {
		all["tiles"] = map[string]string{"url": cfg.TileURL, "attribution": cfg.TileAttribution}
	}
	return all
}

// Close closes the street map.
func (m *Site) Close() error {
	if m.basemap == nil {
		return nil
	}
	return m.basemap.file.Close()
}

// CheckTiles returns an error if tiles cannot be asked for by a URL.
func CheckTiles(tiles string) error {
	_, err := securityPolicy(tiles)
	return err
}

// securityPolicy returns what the page may load: from its own address only, and pictures
// from the host of the tiles.
func securityPolicy(tiles string) (string, error) {
	host := ""
	if tiles != "" {
		at, err := url.Parse(strings.NewReplacer("{z}", "0", "{x}", "0", "{y}", "0").Replace(tiles))
		if err != nil || at.Hostname() == "" || at.Scheme != "https" && at.Scheme != "http" {
			return "", fmt.Errorf("%q is not an http or https URL", redacted(tiles))
		}
		for _, part := range []string{"{z}", "{x}", "{y}"} {
			if !strings.Contains(tiles, part) {
				return "", fmt.Errorf("%q has no %s", redacted(tiles), part)
			}
		}
		if strings.Trim(strings.ToLower(at.Host), "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "" {
			return "", fmt.Errorf("%q has a host that cannot be named in a security policy", redacted(tiles))
		}
		if at.User != nil {
			return "", fmt.Errorf("%q has a user's name, with which browsers ask for nothing", redacted(tiles))
		}
		if !strings.Contains(tiles, at.Host) { // a part of it is {x}
			return "", fmt.Errorf("%q has no certain host", redacted(tiles))
		}
		host = " " + at.Scheme + "://" + at.Host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; connect-src 'self'" + host +
		"; img-src 'self' data: blob:" + host + "; base-uri 'none'; form-action 'none'; frame-ancestors 'self'", nil
}

// redacted returns a URL, valid or not, without a user's name, password and parameters, which
// may be a key.
func redacted(tiles string) string {
	tiles, parameters, _ := strings.Cut(tiles, "?")
	if at := strings.LastIndexByte(tiles, '@'); at >= 0 {
		scheme, _, found := strings.Cut(tiles[:at], "//")
		if found {
			scheme += "//"
		} else {
			scheme = ""
		}
		tiles = scheme + "…" + tiles[at:]
	}
	if parameters != "" {
		tiles += "?…"
	}
	return tiles
}

// Answer answers GET of a path, given the header of the request: status, header, and a
// body of size bytes. Status is 404, and the rest empty, for what is not of the map. A body
// is read from memory that all answers share.
func (m *Site) Answer(at string, request func(name string) string) (status int, header map[string]string, body io.Reader, size int) {
	if m.basemap != nil && at == basemapPath {
		return m.basemap.answer(request)
	}
	return m.Assets.Answer(at, request)
}
