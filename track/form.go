package track

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
)

// Form is a form of a file of pings.
type Form string

// NDJSON, CSV, GPX and GeoJSON are read and written. The others are only read: a
// Document is arrays and objects as POST /v1/pings takes them, over any number of lines,
// a Timeline is that of Google, and FIT is of sports watches.
const (
	NDJSON   Form = "ndjson"
	CSV      Form = "csv"
	GPX      Form = "gpx"
	GeoJSON  Form = "geojson"
	Document Form = "json"
	Timeline Form = "timeline"
	FIT      Form = "fit"
)

// formByKeys returns GeoJSON or Timeline if a JSON document of another maker begins with
// the keys of one, and "" otherwise.
func formByKeys(start []byte) Form {
	dec := json.NewDecoder(bytes.NewReader(start))
	first, _ := dec.Token()
	if first == json.Delim('[') {
		if second, _ := dec.Token(); second != json.Delim('{') {
			return ""
		}
	} else if first != json.Delim('{') {
		return ""
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return ""
		}
		rest := bytes.TrimLeft(start[dec.InputOffset():], ": \t\r\n")
		isList := bytes.HasPrefix(rest, []byte("["))
		switch {
		case first == json.Delim('[') && (key == "startTime" || key == "endTime" || key == "timelinePath"):
			return Timeline
		case first == json.Delim('[') || key == "rider_id" || key == "pings":
			return ""
		case isList && key == "features", key == "type" && (bytes.HasPrefix(rest, []byte(`"Feature"`)) || bytes.HasPrefix(rest, []byte(`"FeatureCollection"`))):
			return GeoJSON
		case isList && (key == "locations" || key == "semanticSegments" || key == "rawSignals"):
			return Timeline
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return ""
		}
	}
	return ""
}

// FormToWrite returns the form for the end of a file's name (.ndjson or .jsonl, .csv,
// .gpx, .geojson, each also with .gz), or "" for any other end.
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

// nameOfFile returns the name of a file without its ends, as a valid rider id.
func nameOfFile(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".gz")
	if name = nameOf(strings.TrimSuffix(name, filepath.Ext(name))); name != "" {
		return name
	}
	return "track"
}
