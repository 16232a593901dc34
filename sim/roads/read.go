package roads

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// Open reads the network of a file. GeoJSON, OSM XML and OSM PBF are told apart by how
// they begin.
func Open(ctx context.Context, path string) (*Network, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	n, err := Read(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// Read reads a network. An OSM file is read twice: for the streets, and for the points
// they have.
func Read(ctx context.Context, r io.ReadSeeker) (*Network, error) {
	start, err := bufio.NewReader(r).Peek(512)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	d := newGroundwork()
	text := strings.TrimLeft(strings.TrimPrefix(string(start), "\ufeff"), " \t\r\n")
	switch {
	case bytes.Contains(start[:min(32, len(start))], []byte("OSMHeader")):
		err = d.readOSM(ctx, r, pbf)
	case strings.HasPrefix(text, "<"):
		err = d.readOSM(ctx, r, xml)
	case strings.HasPrefix(text, "{"):
		err = d.readGeoJSON(r)
	case text == "":
		return nil, fmt.Errorf("no streets: it is empty")
	default:
		return nil, fmt.Errorf("neither GeoJSON nor OSM XML nor OSM PBF")
	}
	if err != nil {
		return nil, err
	}
	return d.network()
}
