package node

import (
	"errors"
	"io"
	"net/http"

	"pingline"
	"pingline/dashboards/livemap"
	sender "pingline/dashboards/phone"
	"pingline/dashboards/site"
	"pingline/ingest/server/pages"
)

// openPages returns how the pages of this binary answer, or nil if none is in it.
func (n *Node) openPages() (pages.Responder, error) {
	if err := n.openMap(); err != nil {
		return nil, err
	}
	phones, err := sender.New()
	if err != nil && !errors.Is(err, sender.ErrNotBuilt) {
		return nil, err
	}
	switch {
	case n.site == nil && phones == nil:
		return nil, nil
	case phones == nil:
		return n.site.Answer, nil
	case n.site == nil:
		return phones.Answer, nil
	}
	return n.pages(phones), nil
}

// pages answers by the live map, and where that has nothing, by the page for phones.
func (n *Node) pages(phones *site.Assets) pages.Responder {
	return func(path string, request func(string) string) (int, map[string]string, io.Reader, int) {
		status, header, body, size := n.site.Answer(path, request)
		if status == http.StatusNotFound {
			return phones.Answer(path, request)
		}
		return status, header, body, size
	}
}

// openMap opens the live map, if it is in this binary.
func (n *Node) openMap() error {
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
	var err error
	n.site, err = livemap.New(cfg)
	if errors.Is(err, livemap.ErrNotBuilt) && c.Basemap == "" && c.TileURL == "" {
		return nil
	}
	return err
}
