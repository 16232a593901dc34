package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"pingline/internal/command"
	"pingline/sim"
	"pingline/sim/handset"
	"pingline/sim/roads"
)

// MovementFlags say how riders get about, and where.
type MovementFlags struct {
	City  *CityFlag   `placeholder:"LAT,LON,RADIUS" help:"Centre of the city in degrees, and its radius in metres (default: 41.1579,-8.6291,8000)."`
	Mix   handset.Mix `placeholder:"MODE=SHARE,…" help:"How riders get about, such as car=0.7,courier=0.2,walk=0.05,bus=0.05 (default: car=1)."`
	Roads string      `placeholder:"FILE" help:"Drive the shortest ways of a road network, GeoJSON lines, OSM XML or OSM PBF, in place of the city's grid."`
	Cover bool        `help:"There are tunnels, in which phones have no fix, and houses, in which fixes are poor."`
}

// check refuses a network together with what only a city on a grid has.
func (f *MovementFlags) check(profile string) error {
	switch {
	case f.Roads != "" && f.City != nil:
		return errors.New("--city, --roads: a road network is where its file says: give one of the two")
	case f.Roads != "" && profile == "concert":
		return errors.New("--roads, --profile=concert: a concert is in a city on a grid (--city): give one of the two")
	}
	return nil
}

// phones returns those of a city, or of a town on the roads of a file.
func (f *MovementFlags) phones(ctx context.Context, city sim.CityConfig, say io.Writer) (sim.Phones, error) {
	city.Mix, city.Cover = f.Mix, f.Cover
	if f.Roads == "" {
		if f.City != nil {
			city.Lat, city.Lon, city.Radius = f.City.Lat, f.City.Lon, f.City.Radius
		}
		c, err := sim.NewCity(city)
		if err != nil {
			return nil, command.Unusable(err)
		}
		return c, nil
	}
	network, err := roads.Open(ctx, f.Roads)
	if err != nil {
		return nil, command.Unusable(fmt.Errorf("--roads: %w", err))
	}
	fmt.Fprintf(say, "roads: %v\n", network.Extent())
	town, err := roads.NewTown(ctx, roads.TownConfig{
		Network: network, Seed: city.Seed, Riders: city.Riders, Interval: city.Interval, Mix: f.Mix, Cover: f.Cover,
	})
	if err != nil {
		return nil, command.Unusable(fmt.Errorf("--roads: %w", err))
	}
	return town, nil
}

// String returns the flags that ask for the same.
func (f *MovementFlags) String() (text string) {
	if f.City != nil {
		text += " --city=" + f.City.String()
	}
	if mix, _ := f.Mix.MarshalText(); len(mix) > 0 {
		text += " --mix=" + string(mix)
	}
	if f.Roads != "" {
		text += fmt.Sprintf(" --roads=%q", f.Roads)
	}
	if f.Cover {
		text += " --cover"
	}
	return text
}
