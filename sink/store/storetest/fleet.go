package storetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"pingline"
)

// Recently is a time of pings, ms, that no retention policy of the tests reaches.
// The minutes that follow are of the same hour, and so of the same day and week,
// and of the same shard of InfluxDB: rows that collide within a shard do not
// collide across two.
var Recently = func() int64 {
	at := time.Now().UTC().Add(-30 * time.Minute)
	if at.Minute() >= 55 {
		at = at.Add(-10 * time.Minute)
	}
	return at.UnixMilli()
}()

// Fleet returns n accepted entries, a ms apart, of ten riders, with all sorts of
// fields, known and unknown.
func Fleet(seed uint64, n int) []pingline.Entry {
	rnd := rand.New(rand.NewPCG(seed, 0))
	list := make([]pingline.Entry, n)
	for i := range list {
		e := &list[i]
		e.Verdict, e.Cell = pingline.Accepted, 0x8539220ffffffff-uint64(rnd.IntN(20))<<20
		e.Rider = fmt.Sprintf("rider-%d-%d", seed, i%10)
		e.At = Recently + int64(i)
		if err := e.SetPosition(rnd.Float64()*180-90, rnd.Float64()*360-180); err != nil {
			panic(err)
		}
		for k, most := range [...]float64{1000, 360, 1e6, 1e5, 1} {
			if rnd.IntN(2) == 0 {
				e.SetOptional(1<<k, rnd.Float64()*most)
			}
		}
		if rnd.IntN(4) == 0 {
			e.Device, e.Trip = "phone:2", "trip@"+e.Rider
		}
		e.Late = rnd.IntN(8) == 0
		e.Skipped = rnd.Uint32N(3)
	}
	return list
}
