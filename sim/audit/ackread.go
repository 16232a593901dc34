package audit

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"pingline"
)

// Acked is a ping of an ack log and its answer.
type Acked struct {
	pingline.Ping
	Verdict     pingline.Verdict // 0 if no answer came
	Answered    int64            // when it was recorded, ms since 1970
	MaxError    float32          // of the answer, metres
	AccuracyCap float32          // of the answer, metres
}

// AckSummary is the rest of an ack log, beside its pings.
type AckSummary struct {
	AckNotes
	Ended bool   // it was closed: no answer is missing at its end
	Pings uint64 // that could be read
	Torn  int64  // bytes at the end that could not, 0 if all could
}

// ReadAckLog calls each for every ping of an ack log, in order; the ping is good for one
// call, its strings for longer. It reads up to the first block that is not whole, as a
// writer that was killed leaves behind, and says so in the summary: that is no error.
// An error is the reader's, each's, or says that this is no ack log.
func ReadAckLog(r io.Reader, each func(*Acked) error) (AckSummary, error) {
	a := ackReader{in: bufio.NewReaderSize(r, 1<<18), each: each}
	if err := a.run(); err != nil {
		return a.sum, fmt.Errorf("ack log: %w", err)
	}
	return a.sum, nil
}

// ReadAckFile is ReadAckLog of a file.
func ReadAckFile(path string, each func(*Acked) error) (AckSummary, error) {
	file, err := os.Open(path)
	if err != nil {
		return AckSummary{}, err
	}
	defer func() { _ = file.Close() }() // it was only read
	sum, err := ReadAckLog(file, each)
	if err != nil {
		return sum, fmt.Errorf("%s: %w", path, err)
	}
	return sum, nil
}

// PeekAckFile returns the notes at the beginning of an ack log, or an error if a file is
// none.
func PeekAckFile(path string) (AckNotes, error) {
	enough := errors.New("enough")
	sum, err := ReadAckFile(path, func(*Acked) error { return enough })
	if errors.Is(err, enough) {
		err = nil
	}
	return sum.AckNotes, err
}

type ackReader struct {
	in    *bufio.Reader
	zip   *zstd.Decoder
	each  func(*Acked) error
	sum   AckSummary
	frame []byte
	plain []byte
	block ackBlock
	ping  Acked
}

func (a *ackReader) run() error {
	magic := make([]byte, len(ackMagic))
	if n, err := io.ReadFull(a.in, magic); err != nil && !isEnd(err) {
		return err
	} else if string(magic[:n]) != ackMagic[:n] || n == 0 {
		return errors.New("not a file of pingline sim run --ack-log")
	} else if n < len(magic) {
		a.sum.Torn = int64(n)
		return nil
	}
	var err error
	if a.zip, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostPlain)); err != nil {
		return err
	}
	defer a.zip.Close()
	for {
		kind, torn, err := a.next()
		if err != nil {
			return err
		}
		if torn > 0 {
			rest, err := io.Copy(io.Discard, a.in)
			a.sum.Torn = torn + rest
			return err
		}
		switch kind {
		case 0:
			return nil
		case notesBlock:
			err = json.Unmarshal(a.plain, &a.sum.AckNotes)
		case pingsBlock:
			err = a.pings()
		case endBlock:
			var end ackEnd
			err = json.Unmarshal(a.plain, &end)
			a.sum.Ended = err == nil && end.Pings == a.sum.Pings
		} // a later version may have other kinds
		if err != nil {
			return err
		}
	}
}

func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// next reads a block into plain. Kind 0 is the end of the file; torn is how many bytes
// were read of a block that is not whole.
func (a *ackReader) next() (kind byte, torn int64, err error) {
	a.frame = append(a.frame[:0], make([]byte, ackHeader)...)
	n, err := io.ReadFull(a.in, a.frame)
	switch {
	case err == io.EOF:
		return 0, 0, nil
	case isEnd(err):
		return 0, int64(n), nil
	case err != nil:
		return 0, 0, err
	}
	plain, body := binary.LittleEndian.Uint32(a.frame[4:]), binary.LittleEndian.Uint32(a.frame[8:])
	if a.frame[0] == 0 || plain > mostPlain || body > mostPlain {
		return 0, ackHeader, nil
	}
	a.frame = append(a.frame, make([]byte, body)...)
	n, err = io.ReadFull(a.in, a.frame[ackHeader:])
	if err != nil && !isEnd(err) {
		return 0, 0, err
	}
	torn = int64(ackHeader + n)
	if err != nil || ackSum(a.frame) != binary.LittleEndian.Uint32(a.frame[12:]) {
		return 0, torn, nil //nolint:nilerr // it is told as a tear
	}
	a.plain, err = a.zip.DecodeAll(a.frame[ackHeader:], a.plain[:0])
	if err != nil || uint32(len(a.plain)) != plain {
		return 0, torn, nil //nolint:nilerr // it is told as a tear
	}
	return a.frame[0], 0, nil
}

// pings hands over the pings of a block.
func (a *ackReader) pings() error {
	b := &a.block
	if err := b.decode(a.plain); err != nil {
		return err
	}
	next := 0
	for _, of := range b.answers {
		a.ping = Acked{Answered: of.at, MaxError: of.maxError, AccuracyCap: of.accuracyCap}
		for i := range b.pings[next : next+of.pings] {
			r, p := &b.pings[next+i], &a.ping
			p.Rider, p.Device, p.Event = b.tracks[r.track].rider, b.tracks[r.track].device, ""
			if r.event > 0 {
				p.Event = b.events[r.event-1]
			}
			p.At, p.LatE7, p.LonE7, p.Known, p.Verdict = r.at, r.lat, r.lon, r.known, r.verdict
			*p.Numbers() = r.numbers
			a.sum.Pings++
			if err := a.each(p); err != nil {
				return err
			}
		}
		next += of.pings
	}
	return nil
}
