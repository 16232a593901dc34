package copying

import (
	"fmt"
	"testing"

	"pingline"
)

// A row with any other content has another hash; of points, too.
func TestRowsThatDifferHashOtherwise(t *testing.T) {
	attrs := func(text string) pingline.Attrs {
		a, err := pingline.NewAttrs(pingline.Text("colour", text))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	base := pingline.Entry{Verdict: pingline.Accepted, Cell: 7, Skipped: 3, Ping: pingline.Ping{Rider: "r", Device: "d", Event: "e", Trip: "t", Attrs: attrs("red")}}
	base.At, base.LatE7, base.LonE7 = 5, 6, 7
	base.SetOptional(pingline.HasSpeed, 5)
	var h rowHasher
	seen := map[uint64]string{}
	add := func(name string, e *pingline.Entry, nano int64) {
		hash, _ := h.row(e, nano)
		if again, _ := h.row(e, nano); again != hash {
			t.Errorf("%s: %x, then %x", name, hash, again)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[hash] = name
	}
	add("base", &base, 0)
	add("nano", &base, 1)
	for name, change := range map[string]func(e *pingline.Entry){
		"rider": func(e *pingline.Entry) { e.Rider = "rd" }, "device": func(e *pingline.Entry) { e.Device = "" }, "cell": func(e *pingline.Entry) { e.Cell++ },
		"event": func(e *pingline.Entry) { e.Event = "et" }, "trip": func(e *pingline.Entry) { e.Trip = "" }, "late": func(e *pingline.Entry) { e.Late = true },
		"corrected": func(e *pingline.Entry) { e.Corrected = true }, "skipped": func(e *pingline.Entry) { e.Skipped++ }, "at": func(e *pingline.Entry) { e.At++ },
		"lat": func(e *pingline.Entry) { e.LatE7++ }, "lon": func(e *pingline.Entry) { e.LonE7++ }, "known": func(e *pingline.Entry) { e.SetOptional(2, 5) },
		"speed": func(e *pingline.Entry) { e.SetOptional(pingline.HasSpeed, 6) }, "attrs": func(e *pingline.Entry) { e.Attrs = attrs("blue") },
		"no attrs": func(e *pingline.Entry) { e.Attrs = "" },
	} {
		e := base
		change(&e)
		add(name, &e, 0)
	}
	for i := range 4 {
		add(fmt.Sprint("point ", i), &pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", At: int64(i % 2),
			Tags: []pingline.Tag{{Key: "k", Value: fmt.Sprint(i / 2)}}, Fields: []pingline.PointField{pingline.Int("n", 1)}}}, 0)
	}
}
