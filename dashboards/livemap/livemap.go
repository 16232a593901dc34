// Package livemap is the live map: a page for browsers that shows where the fleet is and
// was, and how the node is.
//
// The page is built from the TypeScript in web by make livemap, and embedded. Without the
// bundle the package compiles, and Built says so. The page asks for nothing but the routes
// of the API on the address that it came from, and for tiles of the host that Config
// names, if any; its Content-Security-Policy forbids all else.
package livemap

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
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

// asset is an answer that does not change.
type asset struct {
	mime, etag string
	body       []byte
	gzipped    bool // body is compressed
	lasts      bool // its name has a hash of its content
}

// Site answers GET / and the paths below /map/. It is safe for concurrent use.
type Site struct {
	assets  map[string]*asset // by path
	policy  string
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
	m := &Site{assets: make(map[string]*asset), policy: policy}
	err = fs.WalkDir(bundle, "dist", func(name string, d fs.DirEntry, err error) error {
		name, gzipped := strings.CutSuffix(name, ".gz")
		if err != nil || d.IsDir() || !gzipped {
			return err
		}
		body, err := bundle.ReadFile(name + ".gz")
		if err != nil {
			return err
		}
		switch at := strings.TrimPrefix(name, "dist/"); {
		case at == "index.html":
			m.add("/", asset{body: body, gzipped: true})
		case strings.HasPrefix(at, "assets/"):
			m.add("/map/"+at, asset{body: body, gzipped: true, lasts: true})
		}
		return nil
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
	m.add("/map/settings.json", asset{body: settings})
	return m, nil
}

// add adds an asset, and fills in its type and its ETag.
func (m *Site) add(at string, a asset) {
	sum := sha256.Sum256(a.body)
	a.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	switch ext := path.Ext(at); ext {
	case "":
		a.mime = "text/html; charset=utf-8"
	case ".mjs", ".js":
		a.mime = "text/javascript; charset=utf-8"
	default:
		a.mime = cmp.Or(mime.TypeByExtension(ext), "application/octet-stream")
	}
	m.assets[at] = &a
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

// Paths returns the paths that the map answers, sorted.
func (m *Site) Paths() []string {
	all := make([]string, 0, len(m.assets))
	for at := range m.assets {
		all = append(all, at)
	}
	slices.Sort(all)
	return all
}

// Answer answers GET of a path, given the header of the request: status, header, and a
// body of size bytes. Status is 404, and the rest empty, for what is not of the map. A body
// is read from memory that all answers share.
func (m *Site) Answer(at string, request func(name string) string) (status int, header map[string]string, body io.Reader, size int) {
	if m.basemap != nil && at == basemapPath {
		return m.basemap.answer(request)
	}
	a := m.assets[at]
	if a == nil {
		return http.StatusNotFound, nil, nil, 0
	}
	header = map[string]string{
		"Content-Security-Policy":    m.policy,
		"X-Content-Type-Options":     "nosniff",
		"Referrer-Policy":            "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin",
		"Content-Type":               a.mime,
		"ETag":                       a.etag,
		"Cache-Control":              "no-cache",
		"Vary":                       "Accept-Encoding",
	}
	if a.lasts {
		header["Cache-Control"] = "public, max-age=31536000, immutable"
	}
	if slices.Contains(tokens(request("If-None-Match")), a.etag) {
		return http.StatusNotModified, header, nil, 0
	}
	body, size = bytes.NewReader(a.body), len(a.body)
	if !a.gzipped {
		return http.StatusOK, header, body, size
	}
	if takesGzip(request("Accept-Encoding")) {
		header["Content-Encoding"] = "gzip"
		return http.StatusOK, header, body, size
	}
	inflated, err := gzip.NewReader(body)
	if err != nil {
		return http.StatusInternalServerError, nil, nil, 0
	}
	// The last four bytes are the size before compression.
	return http.StatusOK, header, inflated, int(binary.LittleEndian.Uint32(a.body[len(a.body)-4:]))
}

// tokens splits a header of a list. A weak ETag is as good as a strong one here.
func tokens(list string) (all []string) {
	for part := range strings.SplitSeq(list, ",") {
		all = append(all, strings.TrimPrefix(strings.TrimSpace(part), "W/"))
	}
	return all
}

// takesGzip reports whether a client takes gzip, by its Accept-Encoding.
func takesGzip(accepts string) bool {
	for part := range strings.SplitSeq(accepts, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if name = strings.TrimSpace(name); name != "gzip" && name != "*" {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		return err != nil || q > 0
	}
	return false
}
