// Package pingline holds the types that all of Pingline shares: the location
// ping that a phone sends, the rules for a valid ping, the entry that a ping becomes
// in the log, and the point that is stored beside pings.
//
// The package promises that an Entry survives encoding bit for bit, and that a
// field a phone did not send stays unknown rather than zero. It does no I/O and
// imports no other package of Pingline.
package pingline

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Ping is the message: a fix of one rider's device. Rider and Device name the
// track; with At they identify the ping.
type Ping struct {
	Rider  string // as CheckID allows it
	Device string // as Rider; "" if the rider has one device
	Event  string // [a-z0-9_]{1,32}; "" if none
	Trip   string // as Rider; "" if none
	Attrs  Attrs  // attributes of the sender's own; "" if none
	Fix
}

// Validate returns a *FieldError for a name or a position that is not valid.
func (p *Ping) Validate() error {
	if err := CheckID(KeyRider.String(), p.Rider); err != nil {
		return err
	}
	for _, n := range [...]struct {
		key  PingKey
		name string
	}{{KeyDevice, p.Device}, {KeyTrip, p.Trip}} {
		if n.name == "" {
			continue
		}
		if err := CheckID(n.key.String(), n.name); err != nil {
			return err
		}
	}
	if p.Event != "" {
		if err := CheckEvent(p.Event); err != nil {
			return err
		}
	}
	if err := p.Attrs.Validate(); err != nil {
		return err
	}
	at := p.Fix
	return at.SetPosition(p.Lat(), p.Lon())
}

// Lengths in bytes.
const (
	MaxID    = 128 // rider_id, device_id, trip_id
	MaxName  = 64  // of a shard
	MaxEvent = 32
)

// nameByte, eventByte and idByte mark the bytes allowed in names and events, and the
// ASCII allowed within an id.
var nameByte, eventByte, idByte [256]bool

func init() {
	for c := '0'; c <= '9'; c++ {
		nameByte[c], eventByte[c] = true, true
	}
	for c := 'a'; c <= 'z'; c++ {
		nameByte[c], nameByte[c-'a'+'A'], eventByte[c] = true, true, true
	}
	for _, c := range "._:@-" {
		nameByte[c] = true
	}
	eventByte['_'] = true
	for c := ' '; c <= '~'; c++ {
		idByte[c] = c != '\\'
	}
}

// CheckID returns a *FieldError for field unless s is 1–128 bytes of UTF-8 without
// control characters and backslashes, and neither . nor .. nor with white space at an
// end. Ids are compared byte by byte: é as a single rune and é as two are two ids.
// Paths end in an id, and . or .. would lead to another path. In line protocol a
// backslash escapes, and cannot be escaped itself.
func CheckID(field, s string) error {
	if len(s) == 0 || len(s) > MaxID {
		return outOfLength(field, s, MaxID)
	}
	for i := range len(s) {
		if !idByte[s[i]] {
			return checkRunes(field, s)
		}
	}
	return checkEnds(field, s)
}

// checkRunes is CheckID for a string with bytes beyond ASCII, or control characters.
func checkRunes(field, s string) error {
	if !utf8.ValidString(s) {
		return &FieldError{field, "not UTF-8"}
	}
	for _, r := range s {
		switch {
		case r == '\\':
			return &FieldError{field, "a backslash"}
		case r == utf8.RuneError:
			return &FieldError{field, "a character that was not readable, U+FFFD"}
		case unicode.IsControl(r):
			return &FieldError{field, fmt.Sprintf("a control character, %U", r)}
		}
	}
	return checkEnds(field, s)
}

func checkEnds(field, s string) error {
	if s[0] > ' ' && s[0] < utf8.RuneSelf && s[0] != '.' && s[len(s)-1] > ' ' && s[len(s)-1] < utf8.RuneSelf {
		return nil
	}
	if s == "." || s == ".." {
		return &FieldError{field, fmt.Sprintf("%q is not allowed, as it means a folder in a path", s)}
	}
	if strings.TrimSpace(s) != s {
		return &FieldError{field, "white space at an end"}
	}
	return nil
}

func outOfLength(field, s string, most int) error {
	return &FieldError{field, fmt.Sprintf("length %d not in [1, %d]", len(s), most)}
}

// CheckName returns a *FieldError for field unless s is 1–64 of
// A-Z a-z 0-9 . _ : @ -.
func CheckName(field, s string) error {
	return checkBytes(field, s, MaxName, &nameByte, "A-Z a-z 0-9 . _ : @ -")
}

// CheckEvent returns a *FieldError unless s is 1–32 of a-z 0-9 _.
func CheckEvent(s string) error {
	return checkBytes("event", s, MaxEvent, &eventByte, "a-z 0-9 _")
}

func checkBytes(field, s string, most int, allowed *[256]bool, set string) error {
	if len(s) == 0 || len(s) > most {
		return outOfLength(field, s, most)
	}
	for i := range len(s) {
		if !allowed[s[i]] {
			return &FieldError{field, "characters other than " + set}
		}
	}
	return nil
}

// TimeLimits bounds how far a ping may lie behind and ahead of our clock.
type TimeLimits struct {
	MaxAge   time.Duration
	MaxAhead time.Duration
	Kept     time.Duration // retention of the store; 0: for ever, or not known
}

// Wrong reports whether at is the time of a wrong clock: out of the limits at now, but
// in ms and within 200 years of now. A time is not wrong for being older than Kept.
func (l TimeLimits) Wrong(at int64, now time.Time) bool {
	const most = 200 * 366 * 24 * time.Hour // the sum of two does not overflow
	ms := now.UnixMilli()
	return (at < ms-l.MaxAge.Milliseconds() || at > ms+l.MaxAhead.Milliseconds()) &&
		at > ms-most.Milliseconds() && at < ms+most.Milliseconds() && UnitOf(at) == "ms"
}

// rollover is the span of GPS week numbers: satellites send ten bits of the week, and
// a receiver that completes them wrongly is a whole number of 1,024 weeks behind.
const rollover = 1024 * 7 * 24 * time.Hour

// Unroll returns the time that is a whole number of rollovers from at and within the
// limits at now, and false if there is none.
func (l TimeLimits) Unroll(at int64, now time.Time) (ms int64, ok bool) {
	step := rollover.Milliseconds()
	newest := now.Add(l.MaxAhead).UnixMilli()
	ms = newest - ((newest-at)%step+step)%step
	return ms, l.Check(ms, now) == nil
}

// keptMargin is the time allowed for the way of a ping to the store.
const keptMargin = time.Minute

// Check returns a *FieldError if at (ms since 1970) is out of the limits at now.
func (l TimeLimits) Check(at int64, now time.Time) error {
	ms := now.UnixMilli()
	switch {
	case l.Kept > 0 && l.Kept <= l.MaxAge && at < ms-max(l.Kept-keptMargin, l.Kept/2).Milliseconds():
		return &FieldError{"ts", fmt.Sprintf("older than the %s that the store keeps", days(l.Kept))}
	case at < ms-l.MaxAge.Milliseconds():
		return &FieldError{"ts", fmt.Sprintf("more than %s behind%s", days(l.MaxAge), hint(at))}
	case at > ms+l.MaxAhead.Milliseconds():
		return &FieldError{"ts", fmt.Sprintf("more than %s ahead%s", days(l.MaxAhead), hint(at))}
	}
	return nil
}

func hint(at int64) string {
	if unit := UnitOf(at); unit != "ms" {
		return fmt.Sprintf(": %d looks like %s since 1970; send ms", at, unit)
	}
	return ""
}

// UnitOf returns the unit in which a count since 1970 lies in the years 2000 to 2099:
// "s", "µs", "ns", or else "ms".
func UnitOf(at int64) string {
	const from, to = 946_684_800_000, 4_102_444_800_000 // 2000 and 2100, ms
	switch {
	case at >= from/1e3 && at < to/1e3:
		return "s"
	case at >= from*1e3 && at < to*1e3:
		return "µs"
	case at >= from*1e6 && at < to*1e6:
		return "ns"
	}
	return "ms"
}

// days writes a duration in days, hours or minutes if it is a whole number of them.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return fmt.Sprintf("%d d", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.Round(time.Second).String()
}
