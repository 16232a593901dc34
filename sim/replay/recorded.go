package replay

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pingline"
	"pingline/track"
)

// Recorded is the tracks of files.
type Recorded struct {
	Refused uint64 // lines of the files that are no pings
	Because error  // why the first of them was refused

	takes   []*take
	numbers map[[2]string]int // of the takes of the file that is read, by rider and device
	riders  map[string]int    // of that file, by the name there
	names   map[string]bool   // of all riders
}

// take is one recorded track: a rider's device.
type take struct {
	rider, device string // the rider's name is another one than in the file, if another file had it
	number        int    // of the rider
	shots         []shot
}

// shot is one ping of a take, in the order of its file.
type shot struct {
	fix         pingline.Fix // its At is ms since the take's first moment, pauses cut short
	key         int64        // ms after which it is sent: At, or 1 later than the ping before
	event, trip string
}

// longestPause is the longest time between two pings of a take, ms. A rider who slept
// between two rides makes nobody wait.
const longestPause = 10 * 60 * 1000

// Read reads files as track.Open does, each to its end or to where it breaks off. A
// line that is refused is counted. Each file is a recording of its own: riders of one
// name in two files are two riders, and the second is named with @2 behind it. The error names the file that cannot be read, or
// says that there is no ping at all.
func Read(files []string) (*Recorded, error) {
	r := &Recorded{names: make(map[string]bool)}
	for _, file := range files {
		if err := r.read(file); err != nil {
			return nil, err
		}
	}
	if len(r.takes) == 0 {
		return nil, errors.Join(fmt.Errorf("no ping in %q", files), r.Because)
	}
	for _, t := range r.takes {
		t.cut()
	}
	return r, nil
}

func (r *Recorded) read(file string) (err error) {
	in, err := track.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	r.numbers, r.riders = make(map[[2]string]int), make(map[string]int)
	for {
		p, _, err := in.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, pingline.ErrInvalid):
			if r.Refused++; r.Because == nil {
				r.Because = err
			}
		case err != nil:
			return err
		default:
			r.add(&p)
		}
	}
}

func (r *Recorded) add(p *pingline.Ping) {
	name := [2]string{p.Rider, p.Device}
	n, ok := r.numbers[name]
	if !ok {
		rider, known := r.riders[p.Rider]
		if !known {
			rider = len(r.names)
			r.riders[p.Rider] = rider
		}
		n = len(r.takes)
		r.numbers[name] = n
		t := &take{rider: p.Rider, device: p.Device, number: rider}
		if known {
			t.rider = r.nameOf(rider)
		} else {
			for i := 2; r.names[t.rider]; i++ {
				t.rider = named(p.Rider, "@"+strconv.Itoa(i))
			}
			r.names[t.rider] = true
		}
		r.takes = append(r.takes, t)
	}
	t := r.takes[n]
	t.shots = append(t.shots, shot{fix: p.Fix, event: p.Event, trip: p.Trip})
}

// nameOf returns the name of a rider.
func (r *Recorded) nameOf(number int) string {
	for _, t := range r.takes {
		if t.number == number {
			return t.rider
		}
	}
	return ""
}

// hasClone reports whether a rider has a name as clones have with that colon.
func (r *Recorded) hasClone(colon string) bool {
	for name := range r.names {
		digits := strings.TrimRight(name, "0123456789")
		if len(digits) < len(name) && strings.HasSuffix(digits, colon) {
			return true
		}
	}
	return false
}

// named returns a name with a suffix, cut short if it would be too long.
func named(name, suffix string) string {
	for len(name)+len(suffix) > pingline.MaxID {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name + suffix
}

// cut makes the times of a take begin at 0, cuts its pauses short, and says when each
// ping is sent: in the order of the file, where a late one comes right behind the one
// before.
func (t *take) cut() {
	times := make([]int64, len(t.shots))
	for i := range t.shots {
		times[i] = t.shots[i].fix.At
	}
	slices.Sort(times)
	times = slices.Compact(times)
	cut := make([]int64, len(times)) // the time of each, with short pauses
	for i := 1; i < len(times); i++ {
		cut[i] = cut[i-1] + min(times[i]-times[i-1], longestPause)
	}
	key := int64(-1)
	for i := range t.shots {
		s := &t.shots[i]
		n, _ := slices.BinarySearch(times, s.fix.At)
		s.fix.At = cut[n]
		key = max(key+1, cut[n])
		s.key = key
	}
}

// lasts returns how long the take is, ms.
func (t *take) lasts() int64 { return t.shots[len(t.shots)-1].key }

// Pings returns how many there are.
func (r *Recorded) Pings() (n int) {
	for _, t := range r.takes {
		n += len(t.shots)
	}
	return n
}

// Tracks returns how many there are.
func (r *Recorded) Tracks() int { return len(r.takes) }
