package livemap_test

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pingline/sim"
	"pingline/track"
)

// mostPicture is the most bytes of a picture for the docs.
const mostPicture = 300_000

// TestPicture makes the stills of the docs, from a city like that of the demo, in the
// folder that PINGLINE_TEST_STILLS names: make pictures.
func TestPicture(t *testing.T) {
	dir := os.Getenv("PINGLINE_TEST_STILLS")
	if dir == "" {
		t.Skip("PINGLINE_TEST_STILLS names no folder")
	}
	s := newStack(t)
	s.drive(2500, 800)
	p := open(t, s.url()+"/", 1280, 800, "dark")
	p.until("riders and cells are there", "window.pingline && pingline.riders > 2000 && Object.keys(pingline.cells).length > 50")
	p.until("the panel has minutes", "document.querySelectorAll('.spark canvas').length > 4 && pingline.recorded > 36 && pingline.idle")
	p.still(filepath.Join(dir, "livemap.png"))
	rider := s.sendsARide()
	eval[any](p, fmt.Sprintf("location.hash = '#rider=' + %q", rider))
	p.until("a rider has a track, and events", "pingline.track.length > 12 && document.querySelectorAll('.pin').length === 2")
	eval[any](p, "document.querySelectorAll('.card.rider .row button')[0].click()")
	p.until("the map shows all of it", "pingline.idle && pingline.view.zoom > 13")
	p.still(filepath.Join(dir, "livemap-rider.png"))
}

// sendsARide sends the last quarter of an hour of a rider of another city in the same place,
// who is in need in the midst of it, and returns the rider's name.
func (s *stack) sendsARide() string {
	s.t.Helper()
	const n, step = 300, 3000 // ms
	city, err := sim.NewCity(sim.CityConfig{Seed: 20, Riders: 1, Interval: step * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	last := time.Now().UnixMilli()
	var body []byte
	for i := range int64(n) {
		at := last - (n-1-i)*step
		p := city.Ping(0, at-step, at)
		p.Rider, p.Event, p.Trip = "driver-7", "", ""
		switch i {
		case n / 4:
			p.Event = "pickup"
		case 3 * n / 4:
			p.Event = "sos"
		}
		body = append(append(body, ",["[min(i, 1)^1]), track.AppendPing(nil, &p)...)
	}
	s.post(string(append(body, ']')))
	return "driver-7"
}

// still writes what is seen to a file.
func (p *tab) still(file string) {
	p.t.Helper()
	small := quantized(p.shot())
	p.t.Logf("%s: %d bytes", file, len(small))
	if len(small) > mostPicture {
		p.t.Errorf("the picture is %d bytes, more than %d", len(small), mostPicture)
	}
	if err := os.WriteFile(file, small, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// quantized returns a picture in 256 colours, so that it is small: the most frequent that
// are not like one that is there already.
func quantized(img image.Image) []byte {
	bounds := img.Bounds()
	count := make(map[color.RGBA]int)
	at := func(x, y int) color.RGBA {
		r, g, b, _ := img.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	all := slices.Collect(maps.Keys(count))
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	})
	apart := func(a, b color.RGBA) int {
		r, g, b2 := int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B)
		return r*r + g*g + b2*b2
	}
	var chosen []color.RGBA
	for _, least := range []int{300, 100, 30, 1} { // the wider apart, the sooner
		for _, c := range all {
			if len(chosen) < 256 && !slices.ContainsFunc(chosen, func(o color.RGBA) bool { return apart(c, o) < least }) {
				chosen = append(chosen, c)
			}
		}
	}
	palette := make(color.Palette, len(chosen))
	for i, c := range chosen {
		palette[i] = c
	}
	small := image.NewPaletted(bounds, palette)
	nearest := make(map[color.RGBA]uint8)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(palette.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	_ = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small) // to memory
	return out.Bytes()
}
