package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pingline/internal/natsd"
)

func TestMain(m *testing.M) {
	natsd.Main()
	os.Exit(m.Run())
}

// said is what is printed. Safe for concurrent use.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func eventually(t *testing.T, fact string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(2 * patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("never: ", fact)
		}
	}
}

// owner returns a node that takes pings.
func (s *site) owner() *pinglineNode {
	for _, n := range s.nodes {
		if n.saw() == takesPings {
			return n
		}
	}
	return nil
}

// A node that takes pings is killed by its name, another stands still for longer than its lease,
// and a third is not heard by the servers, until all that it said comes late: each time its riders
// are answered again, by others, and at the end nothing that was answered is lost or beyond its
// bound, and each of it is in the log once.
func TestKilledByName(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	binary, err := build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"-chaos", "-riders=300", "-rate=1000", "-lease=2s", "-away=4s"}) // -chaos: with wires that can be cut
	if err != nil {
		t.Fatal(err)
	}
	o.binary, o.dir = binary, t.TempDir()
	text := new(said)
	s, err := newSite(o, &printer{to: text, began: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		if t.Failed() {
			t.Logf("it said\n%s", text)
			for _, n := range s.nodes {
				t.Logf("node %s said last %s", n.name, n.last())
			}
		}
	})
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr, err := s.drive(o)
	if err != nil {
		t.Fatal(err)
	}
	more := func() {
		t.Helper()
		goal := tr.answered() + 2000
		eventually(t, "pings are answered", func() bool { return tr.answered() >= goal })
	}
	more()
	in, typed := io.Pipe()
	driving, stop := context.WithCancel(t.Context())
	obeyed := make(chan struct{})
	go func() { defer close(obeyed); s.obey(driving, in, o) }()
	killed := s.owner()
	if _, err := io.WriteString(typed, "nobody\n"+killed.name+"\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is dead", func() bool { return strings.Contains(text.String(), " "+killed.name+" is killed (kill -9)") })
	eventually(t, "it is there again", func() bool { return strings.Contains(text.String(), " "+killed.name+" is started again") })
	more()
	stop()
	<-obeyed
	if n := strings.Count(text.String(), help); n != 2 {
		t.Errorf("it told %d times how to kill, want at first and for nobody", n)
	}
	if err := s.serves(t.Context()); err != nil {
		t.Fatal(err)
	}
	frozen := s.owner()
	frozen.signal(syscall.SIGSTOP)
	eventually(t, "it is seen to stand still", func() bool { return frozen.saw() == "stands still" })
	if err := s.serves(t.Context()); err != nil {
		t.Fatal(err)
	}
	more()
	frozen.signal(syscall.SIGCONT)
	eventually(t, "it is fenced, and waits", func() bool { return strings.Contains(frozen.saw(), "standby") })
	more()
	if err := s.serves(t.Context()); err != nil {
		t.Fatal(err)
	}
	lonely := slices.Index(s.nodes, s.owner())
	spare := frozen
	ends, _ := (&fault{kind: cutNode, whom: lonely, to: true}).cuts()
	heal := s.wires.cut(ends) // the servers do not hear it
	eventually(t, "another node has its part", func() bool {
		return slices.ContainsFunc(s.nodes, func(n *pinglineNode) bool { return n == spare && n.saw() == takesPings })
	})
	more()
	heal(true)
	eventually(t, "it is fenced, too, and waits", func() bool { return strings.Contains(s.nodes[lonely].saw(), "standby") })
	more()
	r, err := tr.finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s\n%s\n%s", r.sentence(), r.logs.Sentence(), strings.Join(r.logs.Examples, "\n"), text)
	if err := r.err(); err != nil {
		t.Error(err)
	}
	if r.logs.Owners < 5 || r.logs.Pings == 0 {
		t.Errorf("%d owners and %d pings in the logs", r.logs.Owners, r.logs.Pings)
	}
	if r.Stored == 0 || r.Stored > r.Sent/4*3 {
		t.Errorf("%d of %d pings are stored: that shows little of bounds", r.Stored, r.Sent)
	}
}

// Requests go to the nodes in turn, those that reach none to another, and none is lost while
// nobody takes any.
func TestBalancer(t *testing.T) {
	var hosts []string
	looks := 0
	b := &balancer{
		ready: func() []string {
			if looks++; looks < 3 {
				return nil
			}
			return []string{"http://a", "http://b", "http://dead"}
		},
		to: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "dead" {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			text, err := io.ReadAll(r.Body)
			hosts = append(hosts, r.URL.Host+string(text))
			return new(http.Response), err
		}),
	}
	send := func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x/v1/pings", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := b.RoundTrip(r)
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
		return err
	}
	for range 4 {
		if err := send(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(hosts)
	if !slices.Equal(hosts, []string{"a{}", "a{}", "b{}", "b{}"}) {
		t.Errorf("they went to %q", hosts)
	}
	looks = -1 << 40
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := send(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without a node: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A subprocess that ends by itself is told of, one that is told to end is not.
func TestSubprocessEnds(t *testing.T) {
	ended := make(chan error, 1)
	m := shell(t, "exit 3", ended)
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if got := exitStatus(<-ended); got != "status 3" {
		t.Errorf("it ended with %s", got)
	}
	m = shell(t, "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done", ended)
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if err := m.start(); err == nil {
		t.Error("it is started twice")
	}
	eventually(t, "it is ready", func() bool { return m.last() == "ready" })
	if err := m.stop(patience); err == nil || !strings.Contains(err.Error(), "exit status 4: ready") {
		t.Errorf("it ended with %v", err)
	}
	if there, _ := m.runs(); there || m.kill() || len(ended) > 0 {
		t.Error("it runs, or nobody is said to have ended it")
	}
}

func TestFlagsAreRefused(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-nodes=0", "-nodes"}, {"-parts=4", "-parts: 4 is not in [1, 3]"}, {"-parts=3", "-parts: 3 is no power of two"}, {"-lease=1ms", "-lease"}, {"-for=-1s", "-for"}, {"more", `"more"`}, {"-rate=0", "-rate"},
		{"-unknown", "-unknown"},
	} {
		if _, err := parse([]string{tt.args}); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.args, err, tt.want)
		}
	}
	for _, tt := range []struct{ args, want string }{{"-chaos -roll", "-roll"}, {"-takeover=2 -chaos", "-takeover"}, {"-takeover=2 -parts=1", "two parts"}} {
		if _, err := parse(strings.Fields(tt.args)); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.args, err, tt.want)
		}
	}
	if _, err := parse([]string{"-h"}); !errors.Is(err, flag.ErrHelp) || errors.Is(err, errUsage) {
		t.Errorf("-h: %v", err)
	}
}

func TestTold(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"x","level":"ERROR","msg":"it ends","err":"no log"}`: "it ends no log",
		"pingline: no": "pingline: no",
	} {
		if got := told(line); got != want {
			t.Errorf("of %s it tells %q, want %q", line, got, want)
		}
	}
}

// shell is one that runs a script.
func shell(t *testing.T, script string, ended chan error) *subprocess {
	t.Helper()
	m := &subprocess{name: "m", log: filepath.Join(t.TempDir(), "log"), ended: func(err error) { ended <- err }}
	m.command = func() *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }
	t.Cleanup(func() { m.kill() })
	return m
}
