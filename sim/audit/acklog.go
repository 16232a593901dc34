package audit

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"pingline"
)

// An ack log is a file:
//
//	8 bytes "pingacks"
//	u32     version, 1
//	blocks
//
// and a block, with all numbers little endian:
//
//	u8      kind: 1 notes, 2 pings, 3 end
//	3 bytes zero
//	u32     bytes of the body once it is decompressed, at most 8 MiB
//	u32     bytes of the body
//	u32     CRC-32C of the twelve bytes before and of the body
//	body    a zstd frame
//
// Notes are the first block, AckNotes as JSON. Pings are an ackBlock. The end is an
// ackEnd as JSON; a log without one was not closed. A file is read up to the first
// block that is not whole.
const (
	ackMagic   = "pingacks\x01\x00\x00\x00"
	ackHeader  = 16
	mostPlain  = 8 << 20
	blockPings = 1 << 15
	blockNames = 2 << 20 // bytes of names in a block, about

	notesBlock = 1
	pingsBlock = 2
	endBlock   = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AckNotes are facts of a run beside its pings.
type AckNotes struct {
	Began   time.Time `json:"began"`             // when the run began
	Target  string    `json:"target,omitempty"`  // where the pings go
	Command string    `json:"command,omitempty"` // that was run
	Version string    `json:"version,omitempty"` // of the program
}

type ackEnd struct {
	Ended time.Time `json:"ended"`
	Pings uint64    `json:"pings"` // in the log
}

// AckLog is a Recorder into a file, in 10 to 30 bytes a ping. What it was given is in
// the file a second later, or when Close has returned; it is not synced to the disk.
// Memory is that of two blocks, some 6 MiB. Safe for concurrent use.
type AckLog struct {
	file    *os.File
	zip     *zstd.Encoder
	now     func() time.Time
	blocks  chan *ackBlock // full ones, for the goroutine that writes
	spare   chan *ackBlock // empty ones
	written chan struct{}  // closed when that goroutine has ended
	failure atomic.Pointer[error]

	mu     sync.Mutex // guards what follows; nothing else is locked under it
	block  *ackBlock  // being filled; nil once closed
	tracks map[trackID]uint32
	events map[string]uint32
	names  int // bytes of names in the block
	since  time.Time
	pings  uint64
}

const ackFlush = time.Second // how long a ping may wait for its block to be written

// CreateAckLog returns a log in a new file; one that is there already is left alone,
// and the error wraps fs.ErrExist.
func CreateAckLog(path string, notes AckNotes) (*AckLog, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("ack log: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ack log: %w", err)
	}
	l := &AckLog{
		file: file, zip: zip, now: time.Now,
		blocks: make(chan *ackBlock), spare: make(chan *ackBlock, 1), written: make(chan struct{}),
		block: new(ackBlock), tracks: make(map[trackID]uint32), events: make(map[string]uint32),
	}
	l.spare <- new(ackBlock)
	text, err := json.Marshal(notes)
	if err == nil {
		_, err = file.WriteString(ackMagic)
	}
	if err == nil {
		_, err = file.Write(l.frame(nil, notesBlock, text))
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("ack log %s: %w", path, err)
	}
	go l.write()
	return l, nil
}

// frame appends a block.
func (l *AckLog) frame(dst []byte, kind byte, plain []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, ackHeader)...)
	dst = l.zip.EncodeAll(plain, dst)
	head := dst[start:]
	head[0] = kind
	binary.LittleEndian.PutUint32(head[4:], uint32(len(plain)))
	binary.LittleEndian.PutUint32(head[8:], uint32(len(head)-ackHeader))
	binary.LittleEndian.PutUint32(head[12:], ackSum(head))
	return dst
}

// ackSum returns the checksum of a block.
func ackSum(block []byte) uint32 {
	return crc32.Update(crc32.Checksum(block[:12], castagnoli), castagnoli, block[ackHeader:])
}

// Record implements Recorder. It blocks while the disk is slower than the answers. What
// comes after Close is dropped.
func (l *AckLog) Record(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(pings) > 0 && l.block != nil && l.Err() == nil {
		n := l.add(pings, verdicts, maxError, accuracyCap)
		if pings = pings[n:]; verdicts != nil {
			verdicts = verdicts[n:]
		}
		if len(l.block.pings) == blockPings || l.names >= blockNames {
			l.turn()
		}
	}
}

// add adds as many pings as fit into the block, at least one, and returns how many.
func (l *AckLog) add(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32) int {
	b, now := l.block, l.now()
	if len(b.pings) == 0 {
		l.since = now
	}
	n := 0
	for n < len(pings) && len(b.pings) < blockPings && l.names < blockNames {
		p := &pings[n]
		r := ackPing{at: p.At, lat: p.LatE7, lon: p.LonE7, numbers: *p.Numbers(), known: p.Known, track: l.trackOf(p), event: l.eventOf(p.Event)}
		if verdicts != nil {
			r.verdict = verdicts[n]
		}
		b.pings = append(b.pings, r)
		n++
	}
	b.answers = append(b.answers, ackAnswer{at: now.UnixMilli(), pings: n, maxError: maxError, accuracyCap: accuracyCap})
	l.pings += uint64(n)
	return n
}

func (l *AckLog) trackOf(p *pingline.Ping) uint32 {
	id := trackID{p.Rider, p.Device}
	i, ok := l.tracks[id]
	if !ok {
		i = uint32(len(l.block.tracks))
		l.tracks[id] = i
		l.block.tracks = append(l.block.tracks, id)
		l.names += len(id.rider) + len(id.device) + 2
	}
	return i
}

func (l *AckLog) eventOf(name string) uint32 {
	if name == "" {
		return 0
	}
	i, ok := l.events[name]
	if !ok {
		l.block.events = append(l.block.events, name)
		i = uint32(len(l.block.events))
		l.events[name] = i
		l.names += len(name) + 1
	}
	return i
}

// turn hands the block to the goroutine that writes, and begins another.
func (l *AckLog) turn() {
	l.blocks <- l.block
	l.block = <-l.spare
	clear(l.tracks)
	clear(l.events)
	l.names = 0
}

// write writes blocks until there are no more, at least one a second.
func (l *AckLog) write() {
	defer close(l.written)
	tick := time.NewTicker(ackFlush / 4)
	defer tick.Stop()
	var plain, framed []byte
	for {
		var b *ackBlock
		select {
		case b = <-l.blocks:
			if b == nil {
				return
			}
		case <-tick.C:
			if b = l.overdue(); b == nil {
				continue
			}
		}
		plain = b.append(plain[:0])
		framed = l.frame(framed[:0], pingsBlock, plain)
		if _, err := l.file.Write(framed); err != nil {
			l.fail(err)
		}
		b.reset()
		l.spare <- b
	}
}

// overdue returns the block if its first ping has waited long enough.
func (l *AckLog) overdue() *ackBlock {
	if !l.mu.TryLock() {
		return nil // it is being filled, or handed over to us
	}
	defer l.mu.Unlock()
	if l.block == nil || len(l.block.pings) == 0 || l.now().Sub(l.since) < ackFlush*3/4 {
		return nil
	}
	b := l.block
	l.block = <-l.spare // whose block before was written by us
	clear(l.tracks)
	clear(l.events)
	l.names = 0
	return b
}

func (l *AckLog) fail(err error) {
	err = fmt.Errorf("ack log: %w", err)
	l.failure.CompareAndSwap(nil, &err)
}

// Err returns why pings are not recorded any more, nil as long as they are.
func (l *AckLog) Err() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Pings returns how many pings were recorded.
func (l *AckLog) Pings() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pings
}

// Close writes what there is and an end, and returns the first error of all writing.
func (l *AckLog) Close() error {
	end, ok := l.end()
	if !ok {
		return l.Err()
	}
	<-l.written
	text, err := json.Marshal(end)
	if err == nil && l.Err() == nil {
		_, err = l.file.Write(l.frame(nil, endBlock, text))
	}
	if err = errors.Join(err, l.file.Close()); err != nil {
		l.fail(err)
	}
	return l.Err()
}

// end ends the goroutine that writes; it returns false if that was done before.
func (l *AckLog) end() (ackEnd, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.block == nil {
		return ackEnd{}, false
	}
	if len(l.block.pings) > 0 {
		l.turn()
	}
	l.block = nil
	close(l.blocks)
	return ackEnd{Ended: l.now(), Pings: l.pings}, true
}
