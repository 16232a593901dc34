package queue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	stream "pingline/queue/jetstream"
)

// patience is how long a test waits for what must happen: no case depends on
// how long it takes.
const patience = 10 * time.Minute

// A test that needs another process runs this binary again as a child.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// open opens a log that lives as long as the test, or until it is closed.
func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	cfg.Dir = cmp.Or(cfg.Dir, t.TempDir())
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 512<<20) // servers set that much of the disk aside, three of them thrice
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	l, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	return l
}

func shut(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// testWriter writes to the test's log while the test runs.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// payload is what the tests append as record n: n, then size-8 bytes that
// follow from it.
func payload(n uint64, size int) []byte {
	size = max(size, 8)
	b := make([]byte, 0, size+8)
	for ; len(b) < size; n = n*6364136223846793005 + 1442695040888963407 {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b[:size]
}

// totals are what the tests append with record n: its number, and a sum that
// shows which numbers are in a gap.
func totals(n uint64) Totals { return Totals{n, n * (n + 1) / 2} }

// fill appends n records of size bytes.
func fill(t testing.TB, l *Log, n, size int) {
	t.Helper()
	ctx := testContext(t)
	for range n {
		next := l.Last() + 1
		got, err := l.Append(ctx, payload(next, size), totals(next), false)
		if err != nil || got != next {
			t.Fatalf("Append = %d, %v, want %d", got, err, next)
		}
	}
}

// readTo reads from number from up to to, checks what it gets, and returns what
// it was told is lost.
func readTo(t testing.TB, l *Log, from, to uint64) (lost []DamageError) {
	t.Helper()
	r, ctx := l.Read(from), testContext(t)
	defer r.Close()
	for next := from; next <= to; {
		rec, err := r.Next(ctx)
		var damage *DamageError
		if errors.As(err, &damage) {
			if damage.From != next || damage.To < next {
				t.Fatalf("at %d: %v", next, damage)
			}
			lost = append(lost, *damage)
			next = damage.To + 1
			continue
		}
		if err != nil {
			t.Fatalf("Next at %d: %v", next, err)
		}
		checkRecord(t, rec, next)
		next++
	}
	return lost
}

// checkRecord checks that rec is record n as fill appended it.
func checkRecord(t testing.TB, rec Record, n uint64) {
	t.Helper()
	if rec.Number != n {
		t.Fatalf("record %d, want %d", rec.Number, n)
	}
	if rec.Totals != totals(n) {
		t.Fatalf("record %d has totals %v, want %v", n, rec.Totals, totals(n))
	}
	checkPayload(t, rec)
}

// checkPayload checks that rec holds what payload says for its number.
func checkPayload(t testing.TB, rec Record) {
	t.Helper()
	if !bytes.Equal(rec.Payload, payload(rec.Number, len(rec.Payload))) {
		t.Fatalf("record %d holds %d bytes that are not what was appended", rec.Number, len(rec.Payload))
	}
}

// history reads all of l, checks that it is one history without a gap, and
// returns it.
func history(t testing.TB, l *Log) (list []Record) {
	t.Helper()
	r, ctx := l.Read(l.First()), testContext(t)
	defer r.Close()
	for next, last := l.First(), l.Last(); next <= last; next++ {
		rec, err := r.Next(ctx)
		if err != nil || rec.Number != next {
			t.Fatalf("Next = record %d, %v, want %d", rec.Number, err, next)
		}
		if n := len(list); n > 0 && rec.Before != list[n-1].Totals {
			t.Fatalf("before record %d the totals are %v, after the one before %v", next, rec.Before, list[n-1].Totals)
		}
		list = append(list, rec)
	}
	if n := len(list); n > 0 && l.LastTotals() != list[n-1].Totals {
		t.Fatalf("LastTotals = %v, the last record says %v", l.LastTotals(), list[n-1].Totals)
	}
	return list
}

// accounted checks that the log knows how large the stream is.
func accounted(t testing.TB, l *Log) {
	t.Helper()
	state, err := l.session().Bounds(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Bytes(); got != state.Bytes {
		t.Fatalf("Bytes = %d, the stream has %d", got, state.Bytes)
	}
}

// eventually waits until something is so that happens by itself.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

// both runs a test on an embedded log and on one of a server that is elsewhere.
func both(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("embedded", func(t *testing.T) { test(t, Config{}) })
	t.Run("server", func(t *testing.T) { test(t, Config{URL: startNATS(t, t.TempDir()).ClientURL()}) })
}

// startNATS runs a server with a port of its own until the test ends.
func startNATS(t testing.TB, dir string) *server.Server {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats-server did not start")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

// sessionOf returns the session of a log on JetStream.
func sessionOf(l *Log) *stream.Session { return l.session().(*stream.Session) }

// ownerStream is the stream in which the owner of a log is written down.
const ownerStream = "KV_PINGLINE-own"

// rawStream returns a stream on the server of l as the client library has it, over a
// connection of its own.
func rawStream(t testing.TB, l *Log, name string) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(rawConn(t, l))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rawConn(t testing.TB, l *Log) *nats.Conn {
	t.Helper()
	url, options := l.cfg.URL, []nats.Option(nil)
	if srv := sessionOf(l).Server(); srv != nil {
		url, options = "", []nats.Option{nats.InProcessServer(srv.NATS())}
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// copyDir copies the files of a log, as a crash at this moment would leave them.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	for {
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return
		}
		// A file that is renamed after it was listed makes the copy one of no moment at all.
		if _, gone := os.Stat(from); gone != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}

// block is a file of the embedded store, and what records it holds.
type block struct {
	path    string
	offsets []int64 // of its messages
	end     int64
	first   uint64 // sequence of the first message
}

// last is the sequence of the block's last message.
func (b *block) last() uint64 { return b.first + uint64(len(b.offsets)) - 1 }

// blocks returns the blocks of the log in dir, in order.
func blocks(t testing.TB, dir string) (list []block) {
	t.Helper()
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", "PINGLINE", "msgs")
	for i := 1; ; i++ {
		path := filepath.Join(msgs, fmt.Sprintf("%d.blk", i))
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && i > 1 {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		blk := block{path: path, end: int64(len(b)), first: binary.LittleEndian.Uint64(b[4:])}
		for at := uint32(0); int(at) < len(b); {
			blk.offsets = append(blk.offsets, int64(at))
			at += binary.LittleEndian.Uint32(b[at:]) &^ (1 << 31)
		}
		list = append(list, blk)
	}
}

// change overwrites part of a file.
func change(t testing.TB, path string, at int64, with func([]byte)) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, at); err == nil || err == io.EOF {
		with(b)
		_, err = f.WriteAt(b, at)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func flip(b []byte) { b[0] ^= 0xff }
