package track

import (
	"path/filepath"
	"strings"
)

// Form is a form of a file of pings.
type Form string

// NDJSON, CSV and GPX are read and written, GeoJSON is written only, and Document
// is read only: arrays and objects as POST /v1/pings takes them, over any number of
// lines.
const (
	NDJSON   Form = "ndjson"
	CSV      Form = "csv"
	GPX      Form = "gpx"
	GeoJSON  Form = "geojson"
	Document Form = "json"
)

// FormToWrite returns the form that the end of a file's name asks for (.ndjson or
// .jsonl, .csv, .gpx, .geojson, each also with .gz), or "" if it asks for none that
// is written.
func FormToWrite(path string) Form {
	switch ext := extension(path); ext {
	case ".ndjson", ".csv", ".gpx", ".geojson":
		return Form(ext[1:])
	case ".jsonl":
		return NDJSON
	}
	return ""
}

// extension returns the end of a file's name, in lower case and without .gz.
func extension(path string) string {
	return filepath.Ext(strings.TrimSuffix(strings.ToLower(filepath.Base(path)), ".gz"))
}

// nameOfFile returns the name of a file without its ends, as a name that a rider
// may have.
func nameOfFile(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".gz")
	if name = nameOf(strings.TrimSuffix(name, filepath.Ext(name))); name != "" {
		return name
	}
	return "track"
}
