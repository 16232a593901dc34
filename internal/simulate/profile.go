package simulate

import (
	"fmt"
	"time"

	"pingline/sim"
)

// Profile is the shape of a load, and how large it is.
type Profile struct {
	Profile      string        `default:"calm" help:"Shape of the load: calm (the same rate throughout), rush (two hours of a morning within the time), concert (a stadium empties: a hot cell) or storm (after an outage every phone comes back at once with a backlog)."`
	RushPeak     float64       `default:"3" help:"Times the rate at the height of a rush."`
	ConcertShare float64       `default:"0.5" help:"Part of the riders who are at the concert."`
	StormBacklog time.Duration `default:"10m" help:"How long the phones of a storm had no network."`
	StormWithin  time.Duration `default:"5s" help:"Time within which all of them come back."`
}

func (f *Profile) check(lasts time.Duration) error {
	switch {
	case f.Profile != "calm" && f.Profile != "rush" && f.Profile != "concert" && f.Profile != "storm":
		return fmt.Errorf("--profile: %q is not calm, rush, concert or storm", f.Profile)
	case f.Profile == "rush" && lasts == 0:
		return fmt.Errorf("--profile=rush needs a time: --for is 0")
	case !(f.RushPeak >= 1 && f.RushPeak <= 1000):
		return fmt.Errorf("--rush-peak: %v is not in [1, 1000]", f.RushPeak)
	case !(f.ConcertShare > 0 && f.ConcertShare <= 1):
		return fmt.Errorf("--concert-share: %v is not in (0, 1]", f.ConcertShare)
	case f.StormBacklog < time.Second || f.StormBacklog > 24*time.Hour:
		return fmt.Errorf("--storm-backlog: %v is not in [1s, 1d]", f.StormBacklog)
	case f.StormWithin < 0 || f.StormWithin > time.Hour:
		return fmt.Errorf("--storm-within: %v is not in [0s, 1h]", f.StormWithin)
	}
	return nil
}

// Of the time of a run, when a rush has come to its height, when it is over, and when
// a concert ends.
const (
	rushFull   = 0.45
	rushEnds   = 0.55
	concertEnd = 0.2
)

// apply sets what the profile asks of a city and a load that begin now.
func (f *Profile) apply(city *sim.CityConfig, load *sim.LoadConfig, now time.Time) {
	part := func(share float64) time.Duration { return time.Duration(share * float64(load.For)) }
	switch f.Profile {
	case "rush":
		peak := f.RushPeak * load.Rate
		load.Shape = sim.Shape{
			{Rate: load.Rate}, {At: part(rushFull), Rate: peak}, {At: part(rushEnds), Rate: peak}, {At: load.For, Rate: load.Rate},
		}
	case "concert":
		city.Concert = sim.Concert{End: now.Add(part(concertEnd)).Truncate(time.Millisecond), Share: f.ConcertShare}
	case "storm":
		load.Storm = sim.Storm{Backlog: f.StormBacklog, Within: f.StormWithin}
	}
}

// String returns the flags that ask for the profile.
func (f *Profile) String() string {
	text := " --profile=" + f.Profile
	switch f.Profile {
	case "rush":
		text += fmt.Sprintf(" --rush-peak=%g", f.RushPeak)
	case "concert":
		text += fmt.Sprintf(" --concert-share=%g", f.ConcertShare)
	case "storm":
		text += fmt.Sprintf(" --storm-backlog=%v --storm-within=%v", f.StormBacklog, f.StormWithin)
	}
	return text
}
