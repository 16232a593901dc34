package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"

	"pingline"
)

func fix(t testing.TB, lat, lon float64) *pingline.Fix {
	t.Helper()
	var f pingline.Fix
	if err := f.SetPosition(lat, lon); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestCellOf(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lat, lon float64
		res      int
		want     string
	}{
		{"San Francisco, from H3's own examples", 37.7955, -122.3937, 5, "85283083fffffff"},
		{"the same, coarser", 37.7955, -122.3937, 0, "8029fffffffffff"},
		{"a pole has a cell", 90, 0, 5, "85032623fffffff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewCells(tt.res)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", c.Of(fix(t, tt.lat, tt.lon))); got != tt.want {
				t.Errorf("cell of %v,%v = %s, want %s", tt.lat, tt.lon, got, tt.want)
			}
		})
	}
}

func TestCellHoldsItsPosition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c, err := NewCells(5)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		f := fix(t, rng.Float64()*180-90, rng.Float64()*360-180)
		cell := h3.Cell(c.Of(f))
		if !cell.IsValid() || cell.Resolution() != 5 {
			t.Fatalf("cell of %v,%v = %v: not a cell of resolution 5", f.Lat(), f.Lon(), cell)
		}
		centre, err := cell.LatLng()
		if err != nil {
			t.Fatal(err)
		}
		// The largest cell of resolution 5 has a circumradius below 13 km.
		if d := h3.GreatCircleDistanceKm(centre, h3.LatLng{Lat: f.Lat(), Lng: f.Lon()}); d > 13 {
			t.Fatalf("%v,%v is %.1f km from the centre of its cell %v", f.Lat(), f.Lon(), d, cell)
		}
	}
}

func TestResolutionOutOfRange(t *testing.T) {
	for _, res := range []int{-1, 16} {
		if _, err := NewCells(res); err == nil {
			t.Errorf("NewCells(%d) succeeded", res)
		}
	}
}

func TestParent(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 20_000 {
		res := rng.IntN(MaxRes + 1)
		cell := cellAt(rng.Float64()*360-180, rng.Float64()*180-90, res)
		if Res(cell) != res {
			t.Fatalf("Res(%x) = %d, want %d", cell, Res(cell), res)
		}
		to := rng.IntN(res + 1)
		want, err := h3.Cell(cell).Parent(to)
		if err != nil {
			t.Fatal(err)
		}
		if got := Parent(cell, to); got != uint64(want) {
			t.Fatalf("Parent(%x, %d) = %x, want %v", cell, to, got, want)
		}
		if got := Parent(cell, MaxRes); got != cell {
			t.Fatalf("Parent(%x, %d) = %x, want itself", cell, MaxRes, got)
		}
	}
}

func TestParseCell(t *testing.T) {
	if cell, err := ParseCell("8539220ffffffff"); err != nil || cell != 0x8539220ffffffff {
		t.Errorf("ParseCell = %x, %v", cell, err)
	}
	for _, s := range []string{"", "0", "x", "8539220fffffff", "8539220ffffffff0", "-1", "8539220fffffff0", "ffffffffffffffff", "0x8539220ffffffff"} {
		if cell, err := ParseCell(s); err == nil {
			t.Errorf("ParseCell(%q) = %x", s, cell)
		}
	}
}

// cities are pings that move about n cities, so that a cell is met again.
type cities struct {
	riders []pingline.Ping
	rng    *rand.Rand
	i      int
}

func newCities(t testing.TB, n, riders int) *cities {
	c := &cities{rng: rand.New(rand.NewPCG(5, 6))}
	for i := range riders {
		// 20 km around the middle of one of the cities, all within 60° of the equator.
		lat, lon := float64(i%n*37%120-60), float64(i%n*71%360-180)
		c.riders = append(c.riders, pingline.Ping{
			Rider: fmt.Sprintf("r-%06d", i),
			Fix:   *fix(t, lat+(c.rng.Float64()-0.5)/5, max(-180, lon+(c.rng.Float64()-0.5)/5)),
		})
	}
	return c
}

// next moves the next rider by up to 50 m.
func (c *cities) next() *pingline.Ping {
	p := &c.riders[c.i]
	if c.i++; c.i == len(c.riders) {
		c.i = 0
	}
	r := c.rng.Uint64()
	p.LatE7 += int32(r%8192) - 4096
	p.LonE7 += int32(r>>32%8192) - 4096
	return p
}

// BenchmarkCellOf is the cell of a rider who moves in a city, against a call
// into H3 for each.
func BenchmarkCellOf(b *testing.B) {
	for _, res := range []int{5, 8} {
		for name, n := range map[string]int{"city": 1, "cities": 30} {
			cells, err := NewCells(res)
			if err != nil {
				b.Fatal(err)
			}
			c := newCities(b, n, 50_000)
			for range 4 * len(c.riders) {
				cells.Of(&c.next().Fix)
			}
			for how, of := range map[string]func(*pingline.Fix) uint64{"learned": cells.Of, "plain": cells.Exact} {
				b.Run(fmt.Sprintf("res=%d/%s/%s", res, name, how), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						of(&c.next().Fix)
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
				})
			}
		}
	}
}
