package partition

import (
	"fmt"

	"github.com/uber/h3-go/v4"

	"pingline"
)

// MaxRes is the finest resolution of an H3 cell.
const MaxRes = h3.MaxResolution

// Cells gives positions their cell of one resolution. Safe for concurrent use.
type Cells struct{ res int }

// NewCells returns the cells of resolution res, or an error unless it is in
// [0, MaxRes].
func NewCells(res int) (Cells, error) {
	if res < 0 || res > MaxRes {
		return Cells{}, fmt.Errorf("partition: cell resolution %d not in [0, %d]", res, MaxRes)
	}
	return Cells{res}, nil
}

// Of returns the H3 index of the cell that f lies in. f's position must be
// valid: H3 itself answers a valid-looking cell for a latitude of 200.
func (c Cells) Of(f *pingline.Fix) uint64 {
	cell, err := h3.LatLngToCell(h3.LatLng{Lat: f.Lat(), Lng: f.Lon()}, c.res)
	if err != nil {
		// Only an invalid resolution or a position that is not finite gets here.
		panic(fmt.Sprintf("partition: cell of %v,%v at resolution %d: %v", f.Lat(), f.Lon(), c.res, err))
	}
	return uint64(cell)
}
