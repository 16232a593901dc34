package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/partition"
)

// A message is, with varints as in encoding/binary and numbers little endian:
//
//	u8      form, 1
//	uvarint parts; uvarint part
//	uvarint number of jobs; of each
//	    u8      1 urgent, 2 room follows
//	    uvarint room: most new tracks, if flagged
//	    uvarint ms that its writer may take to begin with it
//	    varint  ms since 1970, from which the times of its entries count
//	    uvarint number of pings
//	    uvarint bytes of entries; a ping each, accepted, in the form of the log
//
// and its answer:
//
//	u8      form, 1
//	uvarint number of jobs; of each
//	    u8      kind: 0 judged, 1 unavailable, 2 too large, 3 only events
//	    if judged: f64 MaxError; f64 AccuracyCap; uvarint new tracks
//	        uvarint number of pings; u8 verdict of each
//	        uvarint number of pings beyond the room; of each uvarint places behind the one before
//	    if unavailable: uvarint length; text
const form = 1

// The limits of a message. It takes jobs up to a mebibyte, as a commit does: more would wait in the peer for their
// commit, and less would be several messages a commit. With 256 jobs, four messages have a thousand requests of a
// ping under way, so that a peer whose commits take 5 ms judges 200,000 requests/s of another. A job that is larger
// goes alone, up to the largest that a log takes.
const (
	fullMessage = 1 << 20
	mostJobs    = 256
	maxEntries  = 16 << 20
	maxBody     = maxEntries + 64<<10
	mostPings   = 1 << 16 // of a job
	minJob      = 1 + 1 + 1 + 1 + 1
	minPing     = 14
)

const (
	flagUrgent = 1 << iota
	flagRoom
)

const (
	kindJudged = iota
	kindUnavailable
	kindTooLarge
	kindOnlyEvents
)

// maxCause is the most bytes of a reason that go over the wire.
const maxCause = 300

// appendPing appends a ping in the form of the log.
func appendPing(dst []byte, p *pingline.Ping, cell uint64, at int64) []byte {
	e := pingline.Entry{Ping: *p, Cell: cell, Verdict: pingline.Accepted}
	return pingline.AppendEntry(dst, &e, at)
}

// appendMessage appends the message of some calls, which have at least one.
func appendMessage(dst []byte, parts int, calls []*call, now time.Time) []byte {
	dst = binary.AppendUvarint(append(dst, form), uint64(parts))
	dst = binary.AppendUvarint(dst, uint64(calls[0].part))
	dst = binary.AppendUvarint(dst, uint64(len(calls)))
	for _, c := range calls {
		flags := byte(0)
		if c.urgent {
			flags |= flagUrgent
		}
		if c.room != unlimited {
			flags |= flagRoom
		}
		if dst = append(dst, flags); c.room != unlimited {
			dst = binary.AppendUvarint(dst, uint64(c.room))
		}
		dst = binary.AppendUvarint(dst, uint64(toBegin(c.until.Sub(now)).Milliseconds()))
		dst = binary.AppendVarint(dst, c.at)
		dst = binary.AppendUvarint(dst, uint64(c.pings))
		dst = binary.AppendUvarint(dst, uint64(len(c.entries)))
		dst = append(dst, c.entries...)
	}
	return dst
}

// toBegin returns how long an owner may take to begin with a job for whose answer its node waits for left: the rest
// is for the commit and the way back.
func toBegin(left time.Duration) time.Duration {
	return max(time.Millisecond, left-min(left/4, time.Second))
}

// bundle is a message as its receiver has it, with all its memory, which is used again.
type bundle struct {
	body   []byte // of the strings of pings, too
	jobs   []*posted
	answer []byte
}

// posted is a job of a message.
type posted struct {
	job   ingest.Job
	purse purse
	err   error
}

// Errors of messages that are refused as a whole.
var (
	errGarbled = errors.New("not a message of a node")
	errNotOurs = errors.New("not the owner")
)

// decode reads the message in b.body for the owner of a part. The memory that it takes is in proportion to the body.
func (b *bundle) decode(parts, own int) error {
	b.jobs = b.jobs[:0]
	d := wire{b: b.body}
	if v := d.u8(); v != form {
		return fmt.Errorf("a message of form %d, this node knows %d: %w", v, form, errGarbled)
	}
	if n, part := d.uvarint(), d.uvarint(); !d.bad && (n != uint64(parts) || part != uint64(own)) {
		return fmt.Errorf("%w of part %d of %d: this node has part %d of %d", errNotOurs, part, n, own, parts)
	}
	n := d.uvarint()
	if d.bad || n == 0 || n > mostJobs || n*minJob > uint64(d.left()) {
		return fmt.Errorf("%w: %d jobs", errGarbled, n)
	}
	for i := range int(n) {
		if i == cap(b.jobs) || b.jobs[:i+1][i] == nil {
			b.jobs = append(b.jobs, new(posted))
		} else {
			b.jobs = b.jobs[:i+1]
		}
		if err := b.jobs[i].decode(&d, parts, own); err != nil {
			return fmt.Errorf("job %d of %d: %w", i+1, n, err)
		}
	}
	if d.left() > 0 {
		return fmt.Errorf("%w: %d bytes behind its end", errGarbled, d.left())
	}
	return nil
}

// decode reads a job, whose strings share the memory of d.
func (p *posted) decode(d *wire, parts, own int) error {
	j := &p.job
	flags := d.u8()
	j.Urgent, j.Allowance, p.err = flags&flagUrgent != 0, nil, nil
	if flags&flagRoom != 0 {
		p.purse.room = int(min(d.uvarint(), math.MaxInt32))
		j.Allowance = &p.purse
	}
	j.Patience = time.Duration(min(d.uvarint(), uint64(time.Hour/time.Millisecond))) * time.Millisecond
	at, n, size := d.varint(), d.uvarint(), d.uvarint()
	if d.bad || flags > flagUrgent|flagRoom || j.Patience == 0 || n == 0 || n > mostPings || size > uint64(d.left()) || n*minPing > size {
		return fmt.Errorf("%w: flags %#x, %d pings in %d bytes", errGarbled, flags, n, size)
	}
	b := d.bytes(int(size))
	j.Pings, j.Cells = j.Pings[:0], j.Cells[:0]
	var e pingline.Entry
	last := ""
	for range n {
		used, err := pingline.DecodeEntry(&e, b, at)
		if err != nil || e.Verdict != pingline.Accepted || e.Kind != pingline.Judged || e.Point != nil || e.IsLine() {
			return fmt.Errorf("%w: an entry that is no ping", errGarbled)
		}
		if err := e.Validate(); err != nil {
			return fmt.Errorf("%w: %w", errGarbled, err)
		}
		if e.Rider != last && partition.Part(e.Rider, parts) != own {
			return fmt.Errorf("%w: a ping of part %d", errNotOurs, partition.Part(e.Rider, parts))
		}
		b, last = b[used:], e.Rider
		j.Pings, j.Cells = append(j.Pings, e.Ping), append(j.Cells, e.Cell)
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last ping", errGarbled, len(b))
	}
	return nil
}

// appendAnswer appends the answer to the jobs of a message.
func appendAnswer(dst []byte, jobs []*posted) []byte {
	dst = binary.AppendUvarint(append(dst, form), uint64(len(jobs)))
	for _, p := range jobs {
		switch {
		case p.err == nil:
			dst = appendJudged(append(dst, kindJudged), &p.job)
		case errors.Is(p.err, ingest.ErrTooLarge):
			dst = append(dst, kindTooLarge)
		case errors.Is(p.err, ingest.ErrOnlyEvents):
			dst = append(dst, kindOnlyEvents)
		default:
			text := strings.TrimSuffix(p.err.Error(), ": "+ingest.ErrUnavailable.Error())
			text = text[:min(len(text), maxCause)]
			dst = append(binary.AppendUvarint(append(dst, kindUnavailable), uint64(len(text))), text...)
		}
	}
	return dst
}

func appendJudged(dst []byte, j *ingest.Job) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(j.Bound.MaxError))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(j.Bound.AccuracyCap))
	dst = binary.AppendUvarint(dst, uint64(j.New))
	dst = binary.AppendUvarint(dst, uint64(len(j.Verdicts)))
	for _, v := range j.Verdicts {
		dst = append(dst, byte(v))
	}
	dst = binary.AppendUvarint(dst, uint64(len(j.Over)))
	last := int32(-1)
	for _, i := range j.Over {
		dst = binary.AppendUvarint(dst, uint64(i-last))
		last = i
	}
	return dst
}

// errAnswer is the error of an answer that cannot be read.
var errAnswer = errors.New("an answer that is no answer of a node")

// decodeAnswer sets the results of calls, which get an err each where the peer refused them. An error is that of an
// answer which holds for no call; then some may be set.
func decodeAnswer(b []byte, calls []*call) error {
	d := wire{b: b}
	if v := d.u8(); v != form {
		return fmt.Errorf("%w: form %d, this node knows %d", errAnswer, v, form)
	}
	if n := d.uvarint(); n != uint64(len(calls)) {
		return fmt.Errorf("%w: %d jobs, not %d", errAnswer, n, len(calls))
	}
	for _, c := range calls {
		c.err = nil
		switch kind := d.u8(); kind {
		case kindJudged:
			c.judged(&d)
		case kindTooLarge:
			c.err = ingest.ErrTooLarge
		case kindOnlyEvents:
			c.err = ingest.ErrOnlyEvents
		case kindUnavailable:
			n := d.uvarint()
			if n > maxCause || n > uint64(d.left()) {
				return errAnswer
			}
			c.err = c.refusal(printable(d.bytes(int(n))))
		default:
			return fmt.Errorf("%w: kind %d", errAnswer, kind)
		}
		if d.bad {
			return errAnswer
		}
	}
	if d.left() > 0 {
		return errAnswer
	}
	return nil
}

// judged reads the verdicts of c; d is bad if they are not.
func (c *call) judged(d *wire) {
	c.bound.MaxError, c.bound.AccuracyCap = math.Float64frombits(d.u64()), math.Float64frombits(d.u64())
	added, n := d.uvarint(), d.uvarint()
	if d.bad = d.bad || added > n || n != uint64(c.pings) || n > uint64(d.left()) || !(c.bound.MaxError >= 0 && c.bound.AccuracyCap >= 0); d.bad {
		return
	}
	c.new, c.verdicts, c.over = int(added), c.verdicts[:0], c.over[:0]
	for _, v := range d.bytes(int(n)) {
		d.bad = d.bad || v == 0 || pingline.Verdict(v) > pingline.Shed
		c.verdicts = append(c.verdicts, pingline.Verdict(v))
	}
	over, last := d.uvarint(), int64(-1)
	d.bad = d.bad || over > n
	for ; over > 0 && !d.bad; over-- {
		step := d.uvarint()
		if d.bad = d.bad || step == 0 || step > n || last+int64(step) >= int64(n); d.bad {
			return
		}
		last += int64(step)
		c.over = append(c.over, int32(last))
	}
}

// printable returns the text of a peer as a line of a log may have it.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, string(b))
}

// wire reads values from b; once bad, it returns zeros.
type wire struct {
	b   []byte
	bad bool
}

func (d *wire) left() int { return len(d.b) }

func (d *wire) bytes(n int) []byte {
	if n > len(d.b) {
		d.b, d.bad = nil, true
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *wire) u8() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *wire) u64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *wire) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *wire) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}
