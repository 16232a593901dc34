package partition

import (
	"fmt"
	"strconv"

	"github.com/uber/h3-go/v4"

	"pingline"
)

// MaxRes is the finest resolution of an H3 cell.
const MaxRes = h3.MaxResolution

// Cells maps positions to cells of a fixed resolution. Safe for concurrent use.
// Copies share a cache of at most MaxCellsMemory bytes.
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
// It returns the same cell as Exact, and calls H3 only for a position near a boundary
// or in a cell that is not in the cache.
func (c Cells) Of(f *pingline.Fix) uint64 {
	square := c.regions.square(f)
	if cell := c.regions.find(square, f); cell != 0 {
		return cell
	}
	cell := c.Exact(f)
	c.regions.learn(square, cell)
	return cell
}

// Touch brings near the memory that Of will read for f. A caller with many positions touches all
// first, so that the waits for memory overlap.
func (c Cells) Touch(f *pingline.Fix) uint64 {
	at := c.regions.square(f).known[0].Load()
	if at == 0 {
		return 0
	}
	return c.regions.made[(at-1)%uint32(len(c.regions.made))].Load().cell
}

// Exact returns the same cell as Of, and always calls H3.
func (c Cells) Exact(f *pingline.Fix) uint64 { return cellAt(f.Lon(), f.Lat(), c.res) }

func cellAt(lon, lat float64, res int) uint64 {
	cell, err := h3.LatLngToCell(h3.LatLng{Lat: lat, Lng: lon}, res)
	if err != nil {
		// H3 fails only for an invalid resolution or a position that is not finite.
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

// IsCell reports whether a number is a cell of a resolution.
func IsCell(cell uint64, res int) bool { return h3.Cell(cell).IsValid() && Res(cell) == res }

// Parent returns cell's ancestor of resolution res in H3's hierarchy. A point of cell
// near its boundary may lie in another cell of that resolution, because a hexagon
// cannot be cut into hexagons. A cell that is not finer than res is its own parent.
func Parent(cell uint64, res int) uint64 {
	if res >= Res(cell) {
		return cell
	}
	// Bits 52–55 hold the resolution, the lowest 45 a digit of 3 bits for each
	// resolution; unused digits are 7.
	unused := 45 - 3*res
	return cell&^(15<<52) | uint64(res)<<52 | (1<<unused - 1)
}

// corners returns the corners of a valid cell as longitude and latitude in
// degrees, counterclockwise; great circles between them are the cell's boundary.
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

// neighbours returns a valid cell and the cells around it.
func neighbours(cell uint64) []h3.Cell {
	list, err := h3.GridDisk(h3.Cell(cell), 1)
	if err != nil {
		panic(fmt.Sprintf("partition: neighbours of cell %x: %v", cell, err))
	}
	return list
}
