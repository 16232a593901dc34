package privacy

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"pingline"
	"pingline/ingest/phone"
)

// DoorSettings say how pings are changed at the door. The zero value is nothing.
type DoorSettings struct {
	Zones  []string // private zones of all riders, as ParseZones reads them
	Pings  string   // fate of pings within: "drop" or "" withholds them, "centre" moves them
	Events []string // events whose pings pass as they are; "*" or none: all
	Keys   string   // file of the key of pseudonyms; "": riders keep their names
}

// Check returns the flag of the first setting that is wrong, and why it is. It reads no
// file.
func (s *DoorSettings) Check() (flag string, err error) {
	if _, err := ParseZones(s.Zones, MaxZones); err != nil {
		return "private-zone", err
	}
	if !slices.Contains([]string{"", "drop", "centre"}, s.Pings) {
		return "private-zone-pings", fmt.Errorf("%q is not drop or centre", s.Pings)
	}
	for _, event := range s.Events {
		if event == "*" {
			if len(s.Events) > 1 {
				return "private-zone-events", errors.New("* is there with others")
			}
			continue
		}
		if err := pingline.CheckEvent(event); err != nil {
			return "private-zone-events", fmt.Errorf("%.40q: %w", event, err)
		}
	}
	return "", nil
}

// Open returns the door. DoorSettings must have passed Check.
func (s *DoorSettings) Open(logger *slog.Logger) (*Door, error) {
	d := &Door{centre: s.Pings == "centre"}
	var err error
	if d.zones, err = ParseZones(s.Zones, MaxZones); err != nil {
		return nil, fmt.Errorf("--private-zone: %w", err)
	}
	if len(s.Events) > 0 && s.Events[0] != "*" {
		d.events = s.Events
	}
	if s.Keys != "" {
		var open bool
		if d.names, open, err = ReadPseudonyms(s.Keys); err != nil {
			return nil, fmt.Errorf("--pseudonyms: %w", err)
		}
		if open {
			logger.Warn("others may read the key of pseudonyms, and so find their riders by trying", "file", s.Keys)
		}
		logger.Info("riders are stored by pseudonyms", "key", d.names.Mark())
	}
	if n := d.zones.Len(); n > 0 {
		logger.Info("pings inside private zones are not stored as they are", "zones", n, "pings", d.Rule())
	}
	return d, nil
}

// Door changes the pings of requests. A nil or zero Door withholds pings in the zones of
// their senders' keys, and does nothing else. It is safe for concurrent use.
type Door struct {
	zones  *Zones
	centre bool
	events []string // nil: all
	names  *Pseudonyms
}

// Rule returns the fate of pings within a zone, in a few words.
func (d *Door) Rule() string {
	if d.centre {
		return "moved to the centre"
	}
	return "dropped"
}

// Names returns the pseudonyms; nil: riders keep their names.
func (d *Door) Names() *Pseudonyms {
	if d == nil {
		return nil
	}
	return d.names
}

// Screen changes the pings of a request: those within a zone, of all riders or of the
// sender's key, are withheld or moved, and riders get their pseudonyms. It comes behind all
// that needs true names, and before all that keeps anything.
func (d *Door) Screen(p *phone.Pings, own *Zones) {
	if d == nil {
		d = &Door{}
	}
	if d.zones != nil || own != nil {
		d.hide(p, own)
	}
	if d.names != nil {
		p.Rename(d.names.Append)
	}
}

func (d *Door) hide(p *phone.Pings, own *Zones) {
	p.Withhold(func(ping *pingline.Ping) bool {
		if ping.Event != "" && (d.events == nil || slices.Contains(d.events, ping.Event)) {
			return false // life before privacy
		}
		zone := d.zones.of(&ping.Fix)
		if zone == nil {
			zone = own.of(&ping.Fix)
		}
		if zone == nil {
			return false
		}
		if d.centre {
			zone.cover(&ping.Fix)
			ping.Attrs = "" // nobody knows which of them tells of a place
		}
		return !d.centre
	})
}

// cover puts f at the centre. Accuracy then says how little that tells, and no number is
// left that tells of a way.
func (d *disc) cover(f *pingline.Fix) {
	f.LatE7, f.LonE7 = d.latE7, d.lonE7
	f.Speed, f.Heading, f.Altitude = 0, 0, 0
	f.Known &^= pingline.HasSpeed | pingline.HasHeading | pingline.HasAltitude
	f.SetOptional(pingline.HasAccuracy, d.metres)
}
