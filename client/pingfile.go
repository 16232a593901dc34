package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"pingline"
	"pingline/queue/disk"
	"pingline/track"
)

// pingFile is the pings of an Outbox on disk: a file of lines, each behind the CRC-32C of the
// rest of it, in eight hexadecimal digits:
//
//	4f1d20c3 17 {"rider_id":"r-1","ts":1760000000000,"lat":41.1578123,"lon":-8.6291051}
//	90ab12ef 17
//
// The first line is ping 17. The second says that ping 17, and each before it, has its
// verdict. A line that a crash cut is left out, and counted.
type pingFile struct {
	dir  string
	lock *os.File
	file *os.File
	size int64 // bytes of whole lines
	line []byte
}

// queueFile is the journal's name in its directory.
const queueFile = "queue"

// rewriteAt is how large a journal may be before its done lines are left out.
const rewriteAt = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openPingFile returns the journal of a directory, the pings in it without a verdict, and the
// number of lines that were damaged.
func openPingFile(dir string) (j *pingFile, pings []queuedPing, damaged int, err error) {
	if err := disk.MakeDir(dir); err != nil {
		return nil, nil, 0, err
	}
	j = &pingFile{dir: dir}
	if j.lock, err = disk.Lock(dir); err != nil {
		return nil, nil, 0, err
	}
	text, err := os.ReadFile(j.path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, errors.Join(err, j.lock.Close())
	}
	if pings, damaged, err = parsePings(text); err == nil {
		err = j.rewrite(pings)
	}
	if err != nil {
		return nil, nil, 0, errors.Join(err, j.lock.Close())
	}
	return j, pings, damaged, nil
}

func (j *pingFile) path() string { return filepath.Join(j.dir, queueFile) }

// parsePings returns the pings without a verdict, in order. It returns an error for a whole
// line of a form that it does not know, which is not to be lost.
func parsePings(text []byte) (pings []queuedPing, damaged int, err error) {
	done := uint64(0)
	for line := range bytes.Lines(text) {
		number, ping, err := parseLine(line)
		switch {
		case errors.Is(err, errDamaged):
			damaged++
		case err != nil:
			return nil, 0, fmt.Errorf("line %q: %w: %w", brief(line), pingline.ErrNewer, err)
		case ping == nil:
			done = max(done, number)
		default:
			pings = append(pings, queuedPing{*ping, number})
		}
	}
	open := pings[:0]
	for i := range pings {
		if pings[i].number > done {
			open = append(open, pings[i])
		}
	}
	return open, damaged, nil
}

var errDamaged = errors.New("checksum mismatch")

// parseLine returns the number of a line, and its ping: nil if the line says that it is done.
func parseLine(line []byte) (number uint64, ping *pingline.Ping, err error) {
	sum, rest, _ := bytes.Cut(line, []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || len(sum) != 8 || crc32.Checksum(rest, castagnoli) != uint32(want) {
		return 0, nil, errDamaged
	}
	digits, text, isPing := bytes.Cut(bytes.TrimSuffix(rest, []byte("\n")), []byte(" "))
	if number, err = strconv.ParseUint(string(digits), 10, 64); err != nil || !isPing {
		return number, nil, err
	}
	ping = new(pingline.Ping)
	return number, ping, decodePing(ping, text)
}

// pingJSON is a ping in the form of POST /v1/pings.
type pingJSON struct {
	Rider    string   `json:"rider_id"`
	Device   string   `json:"device_id"`
	TS       int64    `json:"ts"`
	Lat      float64  `json:"lat"`
	Lon      float64  `json:"lon"`
	Speed    *float32 `json:"speed"`
	Heading  *float32 `json:"heading"`
	Accuracy *float32 `json:"accuracy"`
	Altitude *float32 `json:"altitude"`
	Battery  *float32 `json:"battery"`
	Event    string   `json:"event"`
	Trip     string   `json:"trip_id"`

	Attrs json.RawMessage `json:"attrs"`
}

func decodePing(p *pingline.Ping, text []byte) error {
	var s pingJSON
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	*p = pingline.Ping{Rider: s.Rider, Device: s.Device, Event: s.Event, Trip: s.Trip, Fix: pingline.Fix{At: s.TS}}
	if s.Attrs != nil {
		attrs, err := pingline.ParseAttrs(s.Attrs)
		if err != nil {
			return err
		}
		p.Attrs = attrs
	}
	numbers := p.Numbers()
	for i, v := range [...]*float32{s.Speed, s.Heading, s.Accuracy, s.Altitude, s.Battery} {
		if v != nil {
			numbers[i] = *v
			p.Known |= 1 << i
		}
	}
	return p.SetPosition(s.Lat, s.Lon)
}

// add appends pings, and returns when they are on disk.
func (j *pingFile) add(pings []queuedPing) error {
	j.line = j.line[:0]
	for i := range pings {
		j.line = appendPing(j.line, &pings[i])
	}
	if err := j.write(); err != nil {
		return err
	}
	return j.file.Sync()
}

// done notes that each ping up to a number has its verdict. A note that a crash takes back
// is found out when the pings are sent again.
func (j *pingFile) done(number uint64) error {
	from := len(j.line[:0])
	j.line = strconv.AppendUint(append(j.line[:0], "00000000 "...), number, 10)
	j.line = seal(j.line, from)
	return j.write()
}

// write appends line to the file, whole or not at all.
func (j *pingFile) write() error {
	n, err := j.file.WriteAt(j.line, j.size)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, j.file.Truncate(j.size))
		}
		return err
	}
	j.size += int64(n)
	return nil
}

func appendPing(dst []byte, w *queuedPing) []byte {
	from := len(dst)
	dst = strconv.AppendUint(append(dst, "00000000 "...), w.number, 10)
	dst = track.AppendPing(append(dst, ' '), &w.ping)
	return seal(dst, from)
}

// seal ends the line that begins at from, and sets its checksum.
func seal(dst []byte, from int) []byte {
	dst = append(dst, '\n')
	copy(dst[from:], fmt.Sprintf("%08x", crc32.Checksum(dst[from+9:], castagnoli)))
	return dst
}

// rewrite makes the journal one of these pings alone.
func (j *pingFile) rewrite(pings []queuedPing) error {
	var text []byte
	for i := range pings {
		text = appendPing(text, &pings[i])
	}
	if err := disk.WriteAside(j.path(), text); err != nil {
		return err
	}
	file, err := os.OpenFile(j.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if j.file != nil {
		_ = j.file.Close() // the new file is in its place
	}
	j.file, j.size = file, int64(len(text))
	return nil
}

// close closes all that is open.
func (j *pingFile) close() error { return errors.Join(j.file.Close(), j.lock.Close()) }
