package sim

import (
	"math"

	"pingline/sim/handset"
)

// A street is cut into stretches of 8 blocks. In one of 24 the middle four are a
// tunnel.
const (
	stretchBlocks = 8
	tunnelFirst   = 2
	tunnelLast    = 5
	tunnelOnce    = 24
)

// sky returns how much a rider's phone sees of the sky. In a tunnel it has no fix,
// for the block after it a poor one, and in a house a wandering one.
func (c *City) sky(m *motion) handset.Sky {
	switch {
	case !c.cfg.Cover && m.parked:
		return handset.Parked
	case !c.cfg.Cover:
		return handset.Open
	case !m.driving:
		if m.parked || m.indoors {
			return handset.Indoors
		}
		return handset.Open
	case m.onFoot:
		return handset.Open
	}
	along, street, axis := m.x, m.y, int64(0)
	if m.heading == 90 || m.heading == 270 {
		along, street, axis = m.y, m.x, 1
	}
	along /= block
	stretch := math.Floor(along / stretchBlocks)
	if draw(c.phones.Key()+uint64(axis), forStreet, int64(math.Round(street/block))<<20+int64(stretch))%tunnelOnce != 0 {
		return handset.Open
	}
	switch at := along - stretch*stretchBlocks; {
	case at >= tunnelFirst && at <= tunnelLast+1:
		return handset.Hidden
	case m.heading < 180 && at > tunnelLast+1 && at <= tunnelLast+2, m.heading >= 180 && at < tunnelFirst && at >= tunnelFirst-1:
		return handset.Shaded
	}
	return handset.Open
}
