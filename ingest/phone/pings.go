package phone

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"
	"unsafe"

	"pingline"
)

// Limits bounds the pings of a request. The zero value takes every default.
type Limits struct {
	MaxPings   int                 // most pings in a request; 0 means 20,000
	Times      pingline.TimeLimits // how old and how far ahead a ping may be; 0 means 720 h and 2 min
	KeptEvents time.Duration       // Times.Kept of pings with an event
	Correct    bool                // leave pings out of Times to Pings.Correct instead of rejecting them

	// Riders are those that the sender may send for; nil means all. A ping of another is
	// rejected if it is valid otherwise.
	Riders interface{ Has(rider string) bool }
}

// WithDefaults returns l with the defaults in place of zeros.
func (l Limits) WithDefaults() Limits {
	l.MaxPings = cmp.Or(l.MaxPings, 20_000)
	l.Times.MaxAge = cmp.Or(l.Times.MaxAge, 720*time.Hour)
	l.Times.MaxAhead = cmp.Or(l.Times.MaxAhead, 2*time.Minute)
	return l
}

// times returns the limits of a ping with an event, or of a ping without an event.
func (l *Limits) times(event bool) pingline.TimeLimits {
	times := l.Times
	if event {
		times.Kept = l.KeptEvents
	}
	return times
}

// Pings are the pings of a request, checked. Use it again for the next request, which
// then takes the same memory.
type Pings struct {
	List     []pingline.Ping // the valid pings, in order
	Index    []int32         // for each ping of List, its position in the request
	Received int             // pings in the request, valid or not
	Rejected []Rejection     // the first 100 invalid pings

	Others Others // of a protocol with PassOn: added by Decode, and gone with Clear

	Corrected  int          // pings whose time Correct has set; after Taken, those that were not shed
	Correction []Correction // the first 100 corrections, in order

	limits     Limits
	now        time.Time
	reasons    [reasons]int32 // rejected pings by field; 0 for the ping as a whole
	outOfRange [fields]int32  // optional numbers out of range, of List and of pings of other riders than Limits.Riders
	wrong      int            // pings for Correct, and such pings that were rejected after all
	byTrack    []int32        // memory of Correct
	corrected  []int32        // positions in the request of the pings that Correct has set
	names      []byte         // memory of Rename
	attrs      []byte         // memory of Attrs
}

// Rejection says why a ping is invalid.
type Rejection struct {
	Index  int    `json:"index"`           // position of the ping in the request
	Field  string `json:"field,omitempty"` // key, or private_zone; "" if it could not be read at all
	Reason string `json:"error"`

	// Rider is the rider that the ping names, valid or not, for the log; "" if it names
	// none. It may share the memory of the request.
	Rider string `json:"-"`
}

// MaxRejections is the most rejected pings of a request that are reported.
const MaxRejections = 100

// Reset empties p for a request that is held to limits at now.
func (p *Pings) Reset(limits Limits, now time.Time) {
	p.limits, p.now = limits, now
	p.Clear()
}

// Clear forgets the pings.
func (p *Pings) Clear() {
	clear(p.List)
	clear(p.Rejected)
	*p = Pings{
		List: p.List[:0], Index: p.Index[:0], Rejected: p.Rejected[:0], Correction: p.Correction[:0], byTrack: p.byTrack[:0], corrected: p.corrected[:0], names: p.names[:0], attrs: p.attrs[:0],
		limits: p.limits, now: p.now,
	}
}

// Memory returns the bytes of p's lists, which grow with a request.
func (p *Pings) Memory() int64 {
	return int64(cap(p.List)*int(unsafe.Sizeof(pingline.Ping{})) + 4*(cap(p.Index)+cap(p.byTrack)+cap(p.corrected)) + cap(p.names) + cap(p.attrs) + cap(p.Others.Bytes) + 8*cap(p.Others.Ends))
}

// EachReason calls f with the number of rejected pings for each field that was a reason,
// and for "syntax", the pings that could not be read.
func (p *Pings) EachReason(f func(field string, n int)) { each(p.reasons[:], f) }

// EachOutOfRange calls f for each field with the number of valid pings that had it out of
// range.
func (p *Pings) EachOutOfRange(f func(field string, n int)) { each(p.outOfRange[:], f) }

func each(counts []int32, f func(string, int)) {
	for i, n := range counts {
		if n > 0 {
			f(Field(i).String(), int(n))
		}
	}
}

// Room returns an error wrapping ErrTooLarge if no more pings are allowed.
func (p *Pings) Room() error {
	if p.Received < p.limits.MaxPings {
		return nil
	}
	if p.limits.MaxPings == 1 {
		return &Error{ErrTooLarge, "more than 1 ping: send them one by one"}
	}
	return &Error{ErrTooLarge, fmt.Sprintf("more than %d pings: send them in parts", p.limits.MaxPings)}
}

// Add checks d and keeps it, or rejects it. Its strings are kept as they are. Add
// returns an error, as Room does, if no more pings are allowed; then Decode ends.
func (p *Pings) Add(d *Draft) error {
	if p.Received >= p.limits.MaxPings {
		return p.Room()
	}
	p.List = append(p.List, pingline.Ping{})
	last := len(p.List) - 1
	if err := p.check(d, &p.List[last]); err != nil {
		p.List = p.List[:last]
		return p.RejectDraft(d, err)
	}
	p.Index = append(p.Index, int32(p.Received))
	p.Received++
	return nil
}

// Reject counts a ping as invalid because of err, any error that is not nil: a
// *pingline.FieldError names the field, any other says that the ping could not be
// read. The ping counts towards MaxPings. The text of err is public: a reply may
// send it to the client. Reject returns an error as Add does.
func (p *Pings) Reject(err error) error { return p.reject(err, "") }

// RejectDraft is Reject for a ping that could be read in part: d has that part.
func (p *Pings) RejectDraft(d *Draft, err error) error {
	rider := ""
	if d.given&(1<<Rider) != 0 {
		rider = d.name[Rider]
	}
	return p.reject(err, rider)
}

func (p *Pings) reject(err error, rider string) error {
	if p.Received >= p.limits.MaxPings {
		return p.Room()
	}
	fe, ok := err.(*pingline.FieldError) //nolint:errorlint // it mostly is one itself; AsType costs more, and is asked next
	if !ok {
		fe, ok = errors.AsType[*pingline.FieldError](err)
	}
	field := ""
	if ok {
		field = fe.Field
	}
	p.reasons[FieldOf([]byte(field))]++
	if len(p.Rejected) < MaxRejections {
		r := Rejection{Index: p.Received, Field: field, Rider: rider}
		if ok {
			r.Reason = fe.Reason
		} else {
			r.Reason = err.Error()
		}
		p.Rejected = append(p.Rejected, r)
	}
	p.Received++
	return nil
}

// Withhold rejects the pings that hide is true for, because they are within a private zone.
// Hide may change the others. It is called before Correct.
func (p *Pings) Withhold(hide func(ping *pingline.Ping) bool) { p.refuse(PrivateZone, inZone, hide) }

// Withheld returns how many pings are rejected because they are within a private zone.
func (p *Pings) Withheld() int { return int(p.reasons[PrivateZone]) }

// FirstInvalid returns the first rejection that is not for a private zone, or nil.
func (p *Pings) FirstInvalid() *Rejection {
	for i := range p.Rejected {
		if r := &p.Rejected[i]; r.Field != PrivateZone.String() {
			return r
		}
	}
	return nil
}

// refuse rejects the pings that wrong is true for.
func (p *Pings) refuse(field Field, reason string, wrong func(ping *pingline.Ping) bool) {
	kept := 0
	most := len(p.Rejected) + MaxRejections
	for i := range p.List {
		if ping := &p.List[i]; wrong(ping) {
			p.reasons[field]++
			if len(p.Rejected) < most {
				p.Rejected = append(p.Rejected, Rejection{Index: int(p.Index[i]), Field: field.String(), Reason: reason, Rider: ping.Rider})
			}
			continue
		}
		if kept < i {
			p.List[kept], p.Index[kept] = p.List[i], p.Index[i]
		}
		kept++
	}
	if kept == len(p.List) {
		return
	}
	clear(p.List[kept:])
	p.List, p.Index = p.List[:kept], p.Index[:kept]
	slices.SortStableFunc(p.Rejected, func(a, b Rejection) int { return a.Index - b.Index })
	// If there is one for a zone, and if there is one for another reason, it is among those kept:
	// senders are told the latter, and the text of a request with the former is kept nowhere.
	for _, zone := range [...]bool{true, false} {
		if at := slices.IndexFunc(p.Rejected, func(r Rejection) bool { return r.Field == PrivateZone.String() == zone }); at >= MaxRejections {
			p.Rejected[MaxRejections-1] = p.Rejected[at]
		}
	}
	clear(p.Rejected[min(len(p.Rejected), MaxRejections):])
	p.Rejected = p.Rejected[:min(len(p.Rejected), MaxRejections)]
}

// Rename gives the riders of List, and those that Rejected has for the log, the names that
// as appends to dst. It is asked once for pings of a rider in a row. The names are valid
// until Reset.
func (p *Pings) Rename(as func(dst []byte, rider string) []byte) {
	last, name := "", ""
	rename := func(rider *string) {
		if *rider == "" {
			return
		}
		if *rider != last {
			// The bytes of a name are not written again before Reset: where names grows, the
			// strings before keep the memory that they are in.
			from := len(p.names)
			p.names = as(p.names, *rider)
			last, name = *rider, unsafe.String(unsafe.SliceData(p.names[from:]), len(p.names)-from)
		}
		*rider = name
	}
	for i := range p.List {
		rename(&p.List[i].Rider)
	}
	for i := range p.Rejected {
		rename(&p.Rejected[i].Rider)
	}
}

// Attrs returns the attributes of some fields, which it sorts, or a *pingline.FieldError. They
// are valid until Reset.
func (p *Pings) Attrs(list []pingline.PointField) (pingline.Attrs, error) {
	from := len(p.attrs)
	b, err := pingline.AppendAttrs(p.attrs, list) // where it grows, the attributes before keep the memory that they are in
	if err != nil || len(b) == from {
		return "", err
	}
	p.attrs = b
	return pingline.Attrs(unsafe.String(&b[from], len(b)-from)), nil
}

const inZone = "inside a private zone: it is not stored"

var errNotRider = &pingline.FieldError{Field: Rider.String(), Reason: "this key is not for this rider"}

// errTime is the refusal of a time behind the first MaxRejections pings that are rejected.
var errTime = &pingline.FieldError{Field: TS.String(), Reason: "out of range"}

// outside reports whether a time is out of the limits of age, and not to be corrected.
func (p *Pings) outside(l *pingline.TimeLimits, at int64) bool {
	ms := p.now.UnixMilli()
	return (at < ms-l.MaxAge.Milliseconds() || at > ms+l.MaxAhead.Milliseconds()) && !(p.limits.Correct && l.Wrong(at, p.now))
}

// missingErrors are refusals of pings without a field: a request may have thousands of them.
var missingErrors = [...]*pingline.FieldError{
	Rider: {Field: Rider.String(), Reason: "missing"},
	TS:    {Field: TS.String(), Reason: "missing"},
	Lat:   {Field: Lat.String(), Reason: "missing"},
	Lon:   {Field: Lon.String(), Reason: "missing"},
}

// check makes d a ping. It looks for missing fields first, then at the values, each in
// the order of the fields.
func (p *Pings) check(d *Draft, ping *pingline.Ping) error {
	if missing := required &^ d.given; missing != 0 {
		return missingErrors[bits.TrailingZeros16(missing)]
	}
	ping.Rider, ping.At = d.name[Rider], d.at
	if err := pingline.CheckID(Rider.String(), ping.Rider); err != nil {
		return err
	}
	times := p.limits.times(d.given&(1<<Event) != 0 && d.name[Event] != "")
	if len(p.Rejected) >= MaxRejections && p.outside(&times, ping.At) {
		return errTime // nobody is told of this one, so no text is made
	}
	if err := times.Check(ping.At, p.now); err != nil {
		if !p.limits.Correct || !times.Wrong(ping.At, p.now) {
			return err
		}
		ping.Corrected = true // Correct will set the time
		p.wrong++
	}
	if err := ping.SetPosition(d.number[Lat], d.number[Lon]); err != nil {
		return err
	}
	if d.given&(1<<Device|1<<Event|1<<Trip) != 0 {
		if err := d.checkNames(ping); err != nil {
			return err
		}
	}
	if d.given&(1<<Attrs) != 0 {
		ping.Attrs = d.attrs
	}
	for f := Speed; f < Device; f++ {
		if d.given&(1<<f) != 0 && ping.SetOptional(pingline.HasSpeed<<(f-Speed), d.number[f]) {
			p.outOfRange[f]++
		}
	}
	if p.limits.Riders != nil && !p.limits.Riders.Has(ping.Rider) { // here, while the name is in the cache
		return errNotRider
	}
	return nil
}

// checkNames sets the optional names. An empty name counts as absent.
func (d *Draft) checkNames(ping *pingline.Ping) error {
	if s := d.name[Device]; d.given&(1<<Device) != 0 && s != "" {
		if err := pingline.CheckID(Device.String(), s); err != nil {
			return err
		}
		ping.Device = s
	}
	if s := d.name[Event]; d.given&(1<<Event) != 0 && s != "" {
		if err := pingline.CheckEvent(s); err != nil {
			return err
		}
		ping.Event = s
	}
	if s := d.name[Trip]; d.given&(1<<Trip) != 0 && s != "" {
		if err := pingline.CheckID(Trip.String(), s); err != nil {
			return err
		}
		ping.Trip = s
	}
	return nil
}

// Errors returns why pings of the request were rejected, or shed before they were
// judged, in the order of the request, at most the first MaxRejections.
func (o *Outcome) Errors() []Rejection {
	list := slices.Clip(o.Pings.Rejected) // the memory behind it stays as it is
	if len(o.Shed)+len(o.Over) == 0 {
		return list
	}
	for _, at := range o.Shed[:min(len(o.Shed), MaxRejections)] {
		list = append(list, Rejection{Index: int(at), Reason: "rate"})
	}
	for _, at := range o.Over[:min(len(o.Over), MaxRejections)] {
		list = append(list, Rejection{Index: int(o.Pings.Index[at]), Reason: "rate of new riders"})
	}
	slices.SortFunc(list, func(a, b Rejection) int { return a.Index - b.Index })
	return list[:min(len(list), MaxRejections)]
}
