package sim

import (
	"testing"

	"pingline"
	"pingline/sim/handset"
	"pingline/track"
)

// off returns how far a ping is from where its rider is, in metres.
func off(c *City, i int, p *pingline.Ping) float64 {
	m := c.motion(c.phones.Owner(i), p.At)
	body := c.body(&m)
	truth := pingline.Fix{At: p.At}
	c.chart.Place(&truth, body.East, body.North)
	var place track.Path
	place.Add(&truth)
	return place.Off(&p.Fix)
}

func TestTunnelsHideAndShade(t *testing.T) {
	for mode, crosses := range [handset.Modes]bool{true, true, false, true} { // none walks through a tunnel
		c := cityOf(t, handset.Mode(mode), CityConfig{Seed: 4, Cover: true})
		var driving, lost, shaded, longest, within int
		for i := 0; i < 300; i += 2 {
			silent := 0
			for s := range int64(1800) {
				var p pingline.Ping
				at := monday + s*1000
				m := c.motion(i, at)
				if !m.driving {
					silent = 0
					continue
				}
				driving++
				if !c.Update(&p, i, at-1000, at) {
					lost++
					silent++
					longest = max(longest, silent)
					continue
				}
				if silent = 0; c.sky(&m) == handset.Shaded {
					shaded++
					if p.Accuracy < 18 {
						t.Fatalf("accuracy of %g m just out of a tunnel", p.Accuracy)
					}
					if off(c, i, &p) <= float64(p.Accuracy) {
						within++
					}
				}
			}
		}
		if !crosses {
			if lost+shaded > 0 {
				t.Errorf("%v: %d fixes lost and %d poor", handset.Mode(mode), lost, shaded)
			}
			continue
		}
		t.Logf("%v: %d of %d fixes lost, %d s at most, and %d poor", handset.Mode(mode), lost, driving, longest, shaded)
		if share := float64(lost) / float64(driving); share < 0.005 || share > 0.06 {
			t.Errorf("%v: %.3f of the fixes under way are lost", handset.Mode(mode), share)
		}
		if longest < 30 || longest > 300 {
			t.Errorf("%v: no fix for %d s", handset.Mode(mode), longest)
		}
		if share := float64(within) / float64(shaded); shaded < lost/20 || share < 0.5 || share > 0.95 {
			t.Errorf("%v: %d fixes lost, %d poor after it, %.2f of which are within their accuracy", handset.Mode(mode), lost, shaded, share)
		}
	}
}

func TestFixesIndoorsWander(t *testing.T) {
	c := cityOf(t, handset.Courier, CityConfig{Seed: 4, Cover: true})
	var inside, within int
	var far float64
	for i := 0; i < 200; i += 2 {
		for s := range int64(360) {
			at := monday + s*10_000
			if m := c.motion(i, at); m.driving {
				continue
			}
			p := c.Ping(i, at, at)
			if p.Accuracy < 12 || p.Accuracy > 150 {
				t.Fatalf("accuracy of %g m indoors", p.Accuracy)
			}
			d := off(c, i, &p)
			inside++
			far += d
			if d <= float64(p.Accuracy) {
				within++
			}
		}
	}
	if mean := far / float64(inside); mean < 8 || mean > 40 {
		t.Errorf("fixes indoors are %.1f m off", mean)
	}
	if share := float64(within) / float64(inside); share < 0.55 || share > 0.85 {
		t.Errorf("%.2f of the fixes indoors are within their accuracy", share)
	}
}

// A trip that starts in a tunnel is told: by a phone mast's fix, if need be.
func TestTunnelsSwallowNoEvent(t *testing.T) {
	open, covered := newCity(t, CityConfig{Seed: 9}), newCity(t, CityConfig{Seed: 9, Cover: true})
	hidden := 0
	for i := 0; i < 600; i += 2 {
		for s := range int64(120) {
			at := monday + s*30_000
			var a, b pingline.Ping
			open.Update(&a, i, at-30_000, at)
			if ok := covered.Update(&b, i, at-30_000, at); !ok && a.Event != "" || ok && (a.Event != b.Event || a.Trip != b.Trip) {
				t.Fatalf("phone %d at %d: %q of %q in the open, %v: %q of %q", i, at, a.Event, a.Trip, ok, b.Event, b.Trip)
			}
			if m := covered.motion(i, at); b.Event != "" && covered.sky(&m) == handset.Hidden {
				hidden++
			}
		}
	}
	if hidden == 0 {
		t.Error("no event was told in a tunnel")
	}
}
