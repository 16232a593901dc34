package node

import (
	"errors"
	"io"

	"pingline"
	"pingline/dashboards/livemap"
)

// openMap returns how the live map answers, or nil if it is not in this binary.
func (n *Node) openMap() (func(string, func(string) string) (int, map[string]string, io.Reader, int), error) {
	c := n.cfg
	cfg := livemap.Config{
		Version: c.Version, MaxError: c.Bound.MaxError, AccuracyCap: c.Bound.AccuracyCap,
		Basemap: c.Basemap, TileURL: c.TileURL, TileAttribution: c.TileAttribution,
	}
	if n.rollup != nil {
		cfg.Resolutions = c.Rollup
	}
	for level := range pingline.MaxLevel + 1 {
		policy := pingline.PolicyAt(level)
		cfg.Levels = append(cfg.Levels, livemap.Level{Name: policy.Name, GivingUp: policy.GivingUp()})
	}
	site, err := livemap.New(cfg)
	if errors.Is(err, livemap.ErrNotBuilt) && c.Basemap == "" && c.TileURL == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n.site = site
	return site.Answer, nil
}
