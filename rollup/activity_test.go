package rollup

import (
	"testing"
	"time"

	"pingline"
)

// What a total is stored as is read back as the same total.
func TestActivityOfAPoint(t *testing.T) {
	for _, a := range []CellActivity{
		{Cell: 0x8839220f09fffff, Res: 8, From: 1_760_000_010_000, Window: 10 * time.Second, Pings: 412, Riders: 37, Moving: 30, Waiting: 7, HasSpeed: true, SpeedMean: 6.125, SpeedMax: 19.5},
		{Cell: 0x8439221ffffffff, Res: 4, From: 1_760_000_040_000, Window: 90 * time.Minute, Pings: 1, Riders: 1, Waiting: 1},
	} {
		for _, node := range []string{"", "a"} {
			got, of, ok := ActivityOf(a.Point(node))
			if got != a || of != node || !ok {
				t.Errorf("%+v of node %q is read as %+v of %q, %v", a, node, got, of, ok)
			}
		}
	}
	whole := (&CellActivity{Cell: 0x8839220f09fffff, Res: 8, Window: time.Minute, Pings: 1}).Point("a")
	for name, spoil := range map[string]func(p *pingline.Point){
		"another measurement": func(p *pingline.Point) { p.Name = "cell" },
		"no cell":             func(p *pingline.Point) { p.Tags = p.Tags[1:] },
		"a cell that is none": func(p *pingline.Point) { p.Tags[0].Value = "ff" },
		"no window":           func(p *pingline.Point) { p.Tags = p.Tags[:len(p.Tags)-1] },
		"a wrong window":      func(p *pingline.Point) { p.Tags[len(p.Tags)-1].Value = "long" },
		"no pings":            func(p *pingline.Point) { p.Fields = p.Fields[1:] },
	} {
		p := whole.Clone()
		spoil(p)
		if a, _, ok := ActivityOf(p); ok {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
