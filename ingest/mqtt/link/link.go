// Package link bounds what a connection of MQTT costs before its packets are decoded: their
// size, their memory together, and how slowly they may come.
//
// A message larger than its limit is cut: its payload is thrown away as it comes, and the rest
// passes as a message without a payload. So it can be acknowledged, which it must be, because
// a phone would send it again for ever. Any other packet that is too large ends the connection.
//
// Source: MQTT 3.1.1, 2.2, 3.1 and 3.3; MQTT 5.0, 2.1, 2.2.2 and 3.3.2.
package link

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pingline/ingest/server/minrate"
	"pingline/ingest/server/share"
)

const (
	connectWithin = 10 * time.Second // for a handshake of TLS, and the packet CONNECT
	writeWithin   = 30 * time.Second // for an acknowledgement to be taken

	bufferBytes = 4 << 10  // of a connection; a topic and the properties of a message that is cut fit in
	otherBytes  = 16 << 10 // most bytes of a packet that is no message
	headBytes   = 8 << 10  // of a message besides its payload
	freeBytes   = 4 << 10  // of a packet that takes nothing of the budget

	// A packet is there three times: as it came, as it was decoded, and in the request.
	copies = 3
)

// slowest is the least rate of a packet that has begun. It allows for a phone at the edge of
// its radio cell.
var slowest = minrate.Rate{Grace: 10 * time.Second, PerSecond: 4 << 10, Limit: 2 * time.Minute}

// Caps are the bounds that links share.
type Caps struct {
	MaxPayload int           // bytes of a message, beyond which it is cut
	Budget     *share.Budget // bytes of packets in work
}

// Link is a connection of MQTT, from which packets are read one by one: a Read returns bytes of
// one packet only, and the first Read behind a packet says that it was handled. Read is for a
// single goroutine.
type Link struct {
	net.Conn
	limits *Caps
	claim  share.Claim
	in     *bufio.Reader
	pace   minrate.Rate
	idle   time.Time // until which the next packet must begin; zero: never

	version byte   // of the protocol; 0 before CONNECT
	head    []byte // bytes of the packet that come before the rest
	size    int    // of the packet, without its fixed header
	left    int    // bytes of the packet that are still to be passed on
	cut     int    // bytes of the payload of a message that is cut; 0: it is whole

	leaving atomic.Bool
	once    sync.Once
	done    chan struct{}
}

// New returns a link of c, whose client has key in budgets; a trusted client has no share.
func New(c net.Conn, limits *Caps, key uint64, trusted bool) *Link {
	return &Link{
		Conn: c, limits: limits, claim: limits.Budget.Claim(key, trusted), in: bufio.NewReaderSize(c, bufferBytes),
		pace: slowest, idle: time.Now().Add(connectWithin), done: make(chan struct{}),
	}
}

// Cut returns the bytes that the payload of the packet in work had, if it was cut, else 0.
func (l *Link) Cut() int { return l.cut }

// Done is closed when the link is.
func (l *Link) Done() <-chan struct{} { return l.done }

// Close closes the connection, once.
func (l *Link) Close() (err error) {
	l.once.Do(func() {
		close(l.done)
		err = l.Conn.Close()
	})
	return err
}

// Leave has the link end behind the packet in work, if any.
func (l *Link) Leave() {
	l.leaving.Store(true)
	_ = l.Conn.SetReadDeadline(time.Now())
}

// Free gives back what the link takes of the budget. It is called when Read is not called any
// more.
func (l *Link) Free() { l.claim.Drop() }

// SetDeadline sets the time until which the next packet must begin. A packet that has begun
// has a time of its own, and so has a write.
func (l *Link) SetDeadline(t time.Time) error {
	l.idle = t
	return nil
}

// errLeaving ends a link whose server stops.
var errLeaving = errors.New("the server stops")

func (l *Link) await(t time.Time) error {
	if err := l.Conn.SetReadDeadline(t); err != nil {
		return err
	}
	if l.leaving.Load() { // after the deadline, so that Leave is not missed
		return errLeaving
	}
	return nil
}

// Read returns bytes of the packet that has begun, or else of the next one.
func (l *Link) Read(p []byte) (int, error) {
	if len(l.head) == 0 && l.left == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	if len(l.head) > 0 {
		n := copy(p, l.head)
		l.head = l.head[n:]
		return n, nil
	}
	if err := l.await(l.pace.Due(l.size - l.left)); err != nil {
		return 0, err
	}
	n, err := l.in.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// Write gives the client a while to take an answer.
func (l *Link) Write(p []byte) (int, error) {
	if err := l.Conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

// Types of packets.
const (
	connect = 1
	publish = 3
)

// next waits for a packet and reads its fixed header.
func (l *Link) next() error {
	l.claim.Settle(0)
	l.cut = 0
	if err := l.await(l.idle); err != nil {
		return err
	}
	first, err := l.in.Peek(1)
	if err != nil {
		return err
	}
	kind := first[0] >> 4
	l.pace.Restart()
	if err := l.await(l.pace.Due(0)); err != nil {
		return err
	}
	fixed, size, err := l.fixed()
	if err != nil {
		return err
	}
	if l.version == 0 && kind != connect {
		return errors.New("the first packet is no CONNECT")
	}
	switch {
	case kind == publish && size > l.limits.MaxPayload+headBytes:
		return l.shorten(fixed, size)
	case kind != publish && size > otherBytes:
		return fmt.Errorf("a packet of type %d has %d bytes, more than %d", kind, size, otherBytes)
	}
	if n := copies * size; size > freeBytes && !l.claim.Take(int64(n)) {
		return fmt.Errorf("packets in work take more than %d bytes, or a quarter of that from this client", l.limits.Budget.Most())
	}
	if l.version == 0 {
		if err := l.learn(len(fixed), size); err != nil {
			return err
		}
	}
	l.head = append(l.head[:0], fixed...)
	_, err = l.in.Discard(len(fixed))
	l.size, l.left = size, size
	return err
}

// fixed returns the fixed header, which stays in the buffer, and the bytes behind it.
func (l *Link) fixed() (header []byte, size int, err error) {
	for n := 1; n <= 4; n++ {
		b, err := l.in.Peek(1 + n)
		if err != nil {
			return nil, 0, err
		}
		size |= int(b[n]&0x7f) << (7 * (n - 1))
		if b[n]&0x80 == 0 {
			return b, size, nil
		}
	}
	return nil, 0, errors.New("the length of a packet has more than 4 bytes")
}

// learn reads the version of the protocol in a CONNECT behind its fixed header.
func (l *Link) learn(fixed, size int) error {
	b, err := l.in.Peek(fixed + min(size, 9))
	if err != nil {
		return err
	}
	b = b[fixed:]
	if len(b) < 2 {
		return errors.New("a CONNECT is too short")
	}
	at := 2 + int(b[0])<<8 + int(b[1])
	if at >= len(b) || b[at] == 0 {
		return errors.New("a CONNECT names no protocol that is known")
	}
	l.version = b[at]
	return nil
}

// shorten passes a message on without its payload, which it throws away.
func (l *Link) shorten(fixed []byte, size int) error {
	first, start := fixed[0], len(fixed)
	peek := func(n int) ([]byte, error) {
		if start+n > bufferBytes {
			return nil, fmt.Errorf("a message of %d bytes has a longer topic, or more properties, than %d bytes", size, bufferBytes)
		}
		b, err := l.in.Peek(start + n)
		if err != nil {
			return nil, err
		}
		return b[start:], nil
	}
	b, err := peek(2)
	if err != nil {
		return err
	}
	n := 2 + int(b[0])<<8 + int(b[1])
	if first&0x06 != 0 {
		n += 2 // the packet identifier
	}
	if l.version >= 5 {
		length, digits := 0, 0
		for more := true; more; digits++ {
			if digits == 4 {
				return errors.New("the length of properties has more than 4 bytes")
			}
			if b, err = peek(n + digits + 1); err != nil {
				return err
			}
			length |= int(b[n+digits]&0x7f) << (7 * digits)
			more = b[n+digits]&0x80 != 0
		}
		n += digits + length
	}
	if n > size {
		return errors.New("a message is shorter than its topic and properties")
	}
	if b, err = peek(n); err != nil {
		return err
	}
	l.head = append(l.head[:0], first)
	for rest := n; ; {
		digit := byte(rest & 0x7f)
		if rest >>= 7; rest > 0 {
			digit |= 0x80
		}
		if l.head = append(l.head, digit); rest == 0 {
			break
		}
	}
	l.head = append(l.head, b...)
	if _, err := l.in.Discard(start + n); err != nil {
		return err
	}
	l.cut, l.size, l.left = size-n, n, 0
	return l.skip(size - n)
}

// skip throws bytes away, at the pace of a packet.
func (l *Link) skip(bytes int) error {
	for gone := 0; gone < bytes; {
		if err := l.await(l.pace.Due(gone)); err != nil {
			return err
		}
		n, err := l.in.Discard(min(bytes-gone, bufferBytes))
		gone += n
		if err != nil {
			return err
		}
	}
	return nil
}
