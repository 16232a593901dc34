package ingest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer starts a real NATS server with JetStream on a free port.
func natsServer(t testing.TB) (addr string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: 16 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not get ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.Addr().String()
}

// proxy passes bytes between a client and a server until told to hold or lose
// them: the one fault of a log that no real part can be made to show at will.
type proxy struct {
	t    *testing.T
	ln   net.Listener
	to   string
	gate [2]gate // [0] towards the server, [1] back
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// gate lets bytes through unless it is shut; what waits passes when it opens.
type gate struct {
	mu   sync.Mutex
	open *sync.Cond
	shut bool
	held int // bytes
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.held = shut, 0
	g.open.Broadcast()
}

func (g *gate) pass(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held += n
	for g.shut {
		g.open.Wait()
	}
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, to: to}
	for i := range p.gate {
		p.gate[i].open = sync.NewCond(&p.gate[i].mu)
	}
	p.wg.Add(1)
	go p.accept()
	t.Cleanup(func() {
		_ = ln.Close()
		p.holdRequests(false)
		p.holdAnswers(false)
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.ln.Addr().String() }

// holdRequests keeps what the client sends from the server, holdAnswers what the
// server answers from the client, until they are called with false.
func (p *proxy) holdRequests(on bool) { p.gate[0].set(on) }
func (p *proxy) holdAnswers(on bool)  { p.gate[1].set(on) }

// heldRequest reports whether more than a heartbeat is held from the server.
func (p *proxy) heldRequest() bool {
	p.gate[0].mu.Lock()
	defer p.gate[0].mu.Unlock()
	return p.gate[0].shut && p.gate[0].held > 100
}

// cut breaks the connections: what is held is lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.holdRequests(false)
	p.holdAnswers(false)
}

func (p *proxy) accept() {
	defer p.wg.Done()
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		go p.pump(server, client, &p.gate[0])
		go p.pump(client, server, &p.gate[1])
	}
}

func (p *proxy) pump(dst, src net.Conn, g *gate) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		g.pass(n)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
