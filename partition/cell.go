package partition

import (
	"fmt"
	"strconv"

	"github.com/uber/h3-go/v4"

	"pingline"
)

// MaxRes is the finest resolution of an H3 cell.
const MaxRes = h3.MaxResolution

// Cells gives positions their cell of one resolution. Safe for concurrent use.
// Copies share what they have learned; it takes at most MaxCellsMemory bytes.
type Cells struct {
	res     int
	regions *regions
}

// NewCells returns the cells of resolution res, or an error unless it is in
// [0, MaxRes].
func NewCells(res int) (Cells, error) {
	if res < 0 || res > MaxRes {
		return Cells{}, fmt.Errorf("partition: cell resolution %d not in [0, %d]", res, MaxRes)
	}
	return Cells{res, newRegions(res)}, nil
}

// Res returns the resolution.
func (c Cells) Res() int { return c.res }

// Of returns the H3 index of the cell that f lies in. f's position must be
// valid: H3 itself answers a valid-looking cell for a latitude of 200.
//
// It answers as Exact does, and calls H3 only for a position near a boundary or
// in a cell not seen lately.
func (c Cells) Of(f *pingline.Fix) uint64 {
	square := c.regions.square(f)
	if cell := c.regions.find(square, unit(f.Lon(), f.Lat())); cell != 0 {
		return cell
	}
	cell := c.Exact(f)
	c.regions.learn(square, cell)
	return cell
}

// Exact returns what Of does, and always calls H3.
func (c Cells) Exact(f *pingline.Fix) uint64 { return cellAt(f.Lon(), f.Lat(), c.res) }

func cellAt(lon, lat float64, res int) uint64 {
	cell, err := h3.LatLngToCell(h3.LatLng{Lat: lat, Lng: lon}, res)
	if err != nil {
		// Only an invalid resolution or a position that is not finite gets here.
		panic(fmt.Sprintf("partition: cell of %v,%v at resolution %d: %v", lat, lon, res, err))
	}
	return uint64(cell)
}

// ParseCell returns the cell that s names in hexadecimal digits, as the tag
// cell does, or an error if it names none.
func ParseCell(s string) (uint64, error) {
	cell, err := strconv.ParseUint(s, 16, 64)
	if err != nil || !h3.Cell(cell).IsValid() {
		return 0, fmt.Errorf("%q is not an H3 cell such as 8539220ffffffff", s)
	}
	return cell, nil
}

// Res returns the resolution of a cell.
func Res(cell uint64) int { return int(cell >> 52 & 15) }

// Parent returns the cell of resolution res that H3 counts cell to. For a point
// near the boundary it is not always the cell that holds the point at that
// resolution: a hexagon cannot be cut into hexagons. A cell that is not finer
// than res is its own parent.
func Parent(cell uint64, res int) uint64 {
	if res >= Res(cell) {
		return cell
	}
	// Bits 52–55 hold the resolution, the 45 at the end a digit of 3 bits for
	// each; those not used are 7.
	unused := 45 - 3*res
	return cell&^(15<<52) | uint64(res)<<52 | (1<<unused - 1)
}

// corners returns the corners of a valid cell as longitude and latitude in
// degrees, counterclockwise: its boundary is the great circles between them.
func corners(cell uint64) [][2]float64 {
	boundary, err := h3.CellToBoundary(h3.Cell(cell))
	if err != nil {
		panic(fmt.Sprintf("partition: boundary of cell %x: %v", cell, err))
	}
	list := make([][2]float64, len(boundary))
	for i, c := range boundary {
		list[i] = [2]float64{c.Lng, c.Lat}
	}
	return list
}

// centre returns the centre of a valid cell as longitude and latitude in degrees.
func centre(cell uint64) [2]float64 {
	c, err := h3.CellToLatLng(h3.Cell(cell))
	if err != nil {
		panic(fmt.Sprintf("partition: centre of cell %x: %v", cell, err))
	}
	return [2]float64{c.Lng, c.Lat}
}

// neighbours returns the cells around a valid cell, and itself.
func neighbours(cell uint64) []h3.Cell {
	list, err := h3.GridDisk(h3.Cell(cell), 1)
	if err != nil {
		panic(fmt.Sprintf("partition: neighbours of cell %x: %v", cell, err))
	}
	return list
}
