package queue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// patience is how long a test waits for what must happen: no case depends on
// how long it takes.
const patience = 2 * time.Minute

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
	state, err := l.session().state(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Bytes(); got != int64(state.Bytes) {
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

// proxy stands between a log and its server and can hold back what either says.
type proxy struct {
	server   string
	listener net.Listener

	mu       sync.Mutex
	released *sync.Cond
	held     [2]bool // requests, answers
	waiting  [2]int  // bytes that are held
	links    []*link
	stranded []*link
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn
	stranded       bool
	passing        sync.WaitGroup
}

func startProxy(t testing.TB, srv *server.Server) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: srv.Addr().String(), listener: ln}
	p.released = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		p.hold(false, false)
		p.deliver()
	})
	go p.accept()
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		backend, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: backend}
		p.mu.Lock()
		p.links = append(p.links, l)
		p.mu.Unlock()
		l.passing.Go(func() { p.pass(l, 0, backend, client) })
		l.passing.Go(func() { p.pass(l, 1, client, backend) })
	}
}

// pass copies one way, as long as that way is not held.
func (p *proxy) pass(l *link, way int, to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		p.waiting[way] += n
		for p.held[way] || l.stranded {
			p.released.Wait()
		}
		p.waiting[way] -= n
		p.mu.Unlock()
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// hold says which ways are held from now on.
func (p *proxy) hold(requests, answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = [2]bool{requests, answers}
	p.released.Broadcast()
}

// holds returns how many bytes of requests and of answers are held.
func (p *proxy) holds() (requests, answers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting[0], p.waiting[1]
}

// cut breaks every connection, and what is held on its way is gone.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.client.Close()
		l.server.Close()
	}
	p.links = nil
}

// strand breaks every connection to the clients; what is held on its way to the
// server waits there until deliver, whatever new connections carry.
func (p *proxy) strand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.stranded = true
		l.client.Close()
	}
	p.stranded, p.links = append(p.stranded, p.links...), nil
}

// deliver lets the server have what was stranded, and returns when it has read
// it to the end.
func (p *proxy) deliver() {
	p.mu.Lock()
	list := p.stranded
	p.stranded = nil
	for _, l := range list {
		l.stranded = false
	}
	p.released.Broadcast()
	p.mu.Unlock()
	for _, l := range list {
		l.passing.Wait()
	}
}

// copyDir copies the files of a log, as a crash at this moment would leave them.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
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
