package dedupe

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"pingline"
)

// A reader shares no code with the filter and knows nothing of it but what it
// put out: it has the log's entries, draws lines between the stored points of a
// track that are not late, and measures how far off they are from every ping
// that was answered.
type reader struct {
	stored  map[string][]pingline.Entry // by track, those not late
	late    map[string]map[moment]bool
	bears   map[string]map[string]bool    // by track: trips of late points
	events  map[string]map[happening]bool // stored, by track
	known   map[string]map[moment]bool    // by track: what was answered other than duplicate
	trips   map[string]map[string]bool    // by track: of what was answered
	answers []answer
	pardons []pardon
}

// pardon is for what may be wrong of a track between two times, and up to the next
// vertex behind them, which ends the line from the last one there.
type pardon struct {
	track    string
	from, to int64
}

func (r *reader) pardoned(track string, at int64) bool {
	return slices.ContainsFunc(r.pardons, func(p pardon) bool {
		return p.track == track && p.from < at && (at <= p.to || !r.vertexIn(track, p.to+1, at-1))
	})
}

// vertexIn reports whether a vertex is stored between two times.
func (r *reader) vertexIn(track string, from, to int64) bool {
	return slices.ContainsFunc(r.stored[track], func(e pingline.Entry) bool { return from <= e.At && e.At <= to })
}

// moment is a place at a time.
type moment struct {
	at       int64
	lat, lon int32
}

func momentOf(f *pingline.Fix) moment { return moment{f.At, f.LatE7, f.LonE7} }

type happening struct {
	moment
	event string
}

type answer struct {
	track   string
	ping    pingline.Fix
	eps     float64
	verdict pingline.Verdict
}

func newReader() *reader {
	return &reader{
		stored: map[string][]pingline.Entry{},
		late:   map[string]map[moment]bool{},
		bears:  map[string]map[string]bool{},
		events: map[string]map[happening]bool{},
		known:  map[string]map[moment]bool{},
		trips:  map[string]map[string]bool{},
	}
}

func trackOf(p *pingline.Ping) string { return p.Rider + "/" + p.Device }

// note puts key into the set of a track.
func note[K comparable](sets map[string]map[K]bool, track string, key K) {
	if sets[track] == nil {
		sets[track] = map[K]bool{}
	}
	sets[track][key] = true
}

// log takes the entries of a batch.
func (r *reader) log(entries []pingline.Entry) {
	for _, e := range entries {
		if !e.Stored() {
			continue
		}
		tr := trackOf(&e.Ping)
		if e.Event != "" {
			note(r.events, tr, happening{momentOf(&e.Fix), e.Event})
		}
		if e.Late {
			note(r.late, tr, momentOf(&e.Fix))
			note(r.bears, tr, e.Trip)
			continue
		}
		r.stored[tr] = append(r.stored[tr], e)
	}
}

// points returns how many points of a track were put out to be stored, vertices
// that are stored again counted again.
func (r *reader) points(track string) int { return len(r.stored[track]) + len(r.late[track]) }

// allowed is the bound that an answer promises for a ping: the larger of its
// max_error and the ping's accuracy, the latter up to its accuracy_cap.
func allowed(f *pingline.Fix, maxError, accuracyCap float64) float64 {
	if f.Known&pingline.HasAccuracy == 0 {
		return maxError
	}
	return math.Max(maxError, math.Min(float64(f.Accuracy), accuracyCap))
}

// answered takes a verdict that was given to a client, after what was logged for
// it. It returns an error if that cannot be true whatever comes: a duplicate of
// nothing, or an event that is neither stored now nor was before.
func (r *reader) answered(p *pingline.Ping, eps float64, v pingline.Verdict) error {
	tr, m := trackOf(p), momentOf(&p.Fix)
	switch {
	case p.Event != "" && !r.events[tr][happening{m, p.Event}]:
		return fmt.Errorf("%s: event %s at %d is %v and not stored", tr, p.Event, p.At, v)
	case v != pingline.Duplicate:
		note(r.known, tr, m)
	case !r.known[tr][m]:
		return fmt.Errorf("%s: ping at %d is a duplicate of nothing", tr, p.At)
	}
	if p.Trip != "" {
		note(r.trips, tr, p.Trip)
	}
	r.answers = append(r.answers, answer{tr, p.Fix, eps, v})
	return nil
}

// kept returns how many points are stored, those written twice counted once.
func (r *reader) kept() (vertices, late int) {
	for _, s := range r.stored {
		at := map[int64]bool{}
		for _, e := range s {
			at[e.At] = true
		}
		vertices += len(at)
	}
	for _, l := range r.late {
		late += len(l)
	}
	return vertices, late
}

// check returns an error for the first answer that does not hold, and the
// largest error of a dropped ping in parts of its bound.
func (r *reader) check() (worst float64, err error) {
	r.sort()
	for tr, s := range r.stored {
		for i := 1; i < len(s); i++ {
			if s[i].At == s[i-1].At && !r.pardoned(tr, s[i].At) && momentOf(&s[i].Fix) != momentOf(&s[i-1].Fix) {
				return 0, fmt.Errorf("%s: two places stored for %d", tr, s[i].At)
			}
		}
	}
	for tr := range r.trips {
		if err := r.checkTrips(tr); err != nil {
			return 0, err
		}
	}
	for _, a := range r.answers {
		if r.pardoned(a.track, a.ping.At) {
			continue
		}
		off := r.off(a)
		switch a.verdict {
		case pingline.Accepted:
			if off > 0 && !r.late[a.track][momentOf(&a.ping)] {
				return worst, fmt.Errorf("%s: accepted ping at %d is not stored (%.1f m off)", a.track, a.ping.At, off)
			}
			continue
		case pingline.Duplicate:
			continue // its first copy has an answer of its own
		}
		if off > a.eps {
			return worst, fmt.Errorf("%s: %v ping at %d is %.3f m off, bound %.3f", a.track, a.verdict, a.ping.At, off, a.eps)
		}
		if a.eps > 0 {
			worst = math.Max(worst, off/a.eps)
		}
	}
	return worst, nil
}

// checkTrips returns an error if no stored point bears a trip of which a ping was
// answered. What is written twice for one instant has the trip that came last.
func (r *reader) checkTrips(track string) error {
	of, borne := map[int64]string{}, map[string]bool{}
	for _, e := range r.stored[track] {
		if r.pardoned(track, e.At) {
			borne[e.Trip] = true
		} else if e.Trip != "" {
			of[e.At] = e.Trip
		}
	}
	for _, trip := range of {
		borne[trip] = true
	}
	for trip := range r.trips[track] {
		if !borne[trip] && !r.bears[track][trip] {
			return fmt.Errorf("%s: no stored point bears %s", track, trip)
		}
	}
	return nil
}

// sort puts what is stored in order of time.
func (r *reader) sort() {
	for _, s := range r.stored {
		slices.SortStableFunc(s, func(a, b pingline.Entry) int { return cmp.Compare(a.At, b.At) })
	}
}

// off returns the distance in metres between a ping and the line at its time.
func (r *reader) off(a answer) float64 {
	s := r.stored[a.track]
	i, _ := slices.BinarySearchFunc(s, a.ping.At, func(e pingline.Entry, at int64) int { return cmp.Compare(e.At, at) })
	if i < len(s) && s[i].At == a.ping.At {
		return haversine(s[i].Lat(), s[i].Lon(), a.ping.Lat(), a.ping.Lon())
	}
	if i == 0 || i == len(s) {
		return math.Inf(1)
	}
	p, q := s[i-1], s[i]
	part := float64(a.ping.At-p.At) / float64(q.At-p.At)
	dlon := q.Lon() - p.Lon()
	if dlon > 180 {
		dlon -= 360
	} else if dlon < -180 {
		dlon += 360
	}
	return haversine(p.Lat()+part*(q.Lat()-p.Lat()), p.Lon()+part*dlon, a.ping.Lat(), a.ping.Lon())
}

func haversine(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	u, v := math.Sin((lat2-lat1)*rad/2), math.Sin((lon2-lon1)*rad/2)
	h := u*u + math.Cos(lat1*rad)*math.Cos(lat2*rad)*v*v
	return 2 * 6371008.8 * math.Asin(math.Sqrt(math.Min(h, 1)))
}
