// Package site answers requests for pages of the binary: files that were built beforehand,
// compressed and embedded.
//
// It knows no page: dashboards/livemap and dashboards/phone say which paths they have, and
// which headers. An answer is from memory that all answers share.
package site

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Asset is an answer that does not change.
type Asset struct {
	Body    []byte
	Gzipped bool // Body is compressed
	Lasts   bool // its path has a hash of its content: browsers keep it for a year

	header map[string]string
}

// Assets are all answers of a page, by path. Once the last is added they are safe for
// concurrent use.
type Assets struct {
	policy string
	byPath map[string]*Asset
}

// New returns Assets with a Content-Security-Policy, and none added.
func New(policy string) *Assets { return &Assets{policy, make(map[string]*Asset)} }

// AddBundle adds the files of a bundle whose name ends in .gz, without that; at returns the path
// of a file, by its name below the folder, or "" for none. A file in assets/ lasts.
func (s *Assets) AddBundle(bundle fs.FS, folder string, at func(name string) string) error {
	return fs.WalkDir(bundle, folder, func(name string, d fs.DirEntry, err error) error {
		plain, gzipped := strings.CutSuffix(name, ".gz")
		if err != nil || d.IsDir() || !gzipped {
			return err
		}
		body, err := fs.ReadFile(bundle, name)
		if err != nil {
			return err
		}
		below := strings.TrimPrefix(plain, folder+"/")
		if to := at(below); to != "" {
			s.Add(to, Asset{Body: body, Gzipped: true, Lasts: strings.HasPrefix(below, "assets/")})
		}
		return nil
	})
}

// Add adds an asset. One without an extension in its path is HTML.
func (s *Assets) Add(at string, a Asset) {
	sum := sha256.Sum256(a.Body)
	a.header = map[string]string{
		"Content-Security-Policy":    s.policy,
		"X-Content-Type-Options":     "nosniff",
		"Referrer-Policy":            "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin",
		"Content-Type":               typeOf(at),
		"ETag":                       `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		"Cache-Control":              "no-cache",
		"Vary":                       "Accept-Encoding",
	}
	if a.Lasts {
		a.header["Cache-Control"] = "public, max-age=31536000, immutable"
	}
	s.byPath[at] = &a
}

// Change adds to the header of an asset, or changes it; where there is no such asset it does
// nothing.
func (s *Assets) Change(at string, header map[string]string) {
	if a := s.byPath[at]; a != nil {
		maps.Copy(a.header, header)
	}
}

func typeOf(at string) string {
	switch ext := path.Ext(at); ext {
	case "":
		return "text/html; charset=utf-8"
	case ".mjs", ".js":
		return "text/javascript; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	default:
		return cmp.Or(mime.TypeByExtension(ext), "application/octet-stream")
	}
}

// Paths returns the paths of all assets, sorted.
func (s *Assets) Paths() []string { return slices.Sorted(maps.Keys(s.byPath)) }

// Answer answers GET of a path, given the header of the request: status, header, and a
// body of size bytes. Status is 404, and the rest empty, where there is no such asset. The
// header is a copy.
func (s *Assets) Answer(at string, request func(name string) string) (status int, header map[string]string, body io.Reader, size int) {
	a := s.byPath[at]
	if a == nil {
		return http.StatusNotFound, nil, nil, 0
	}
	header = maps.Clone(a.header)
	if slices.Contains(tokens(request("If-None-Match")), header["ETag"]) {
		return http.StatusNotModified, header, nil, 0
	}
	body, size = bytes.NewReader(a.Body), len(a.Body)
	if !a.Gzipped {
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
	return http.StatusOK, header, inflated, int(binary.LittleEndian.Uint32(a.Body[len(a.Body)-4:]))
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
