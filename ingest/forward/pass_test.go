package forward

import (
	"fmt"
	"net"
	"testing"

	"github.com/valyala/fasthttp"
)

// The body of a client's GET is not passed on, nor is its length: the peer would take the next read
// on the connection for that body.
func TestPassWithABody(t *testing.T) {
	ns := newNodes(t, 2)
	ns.add(1, new(judge).Submit, func(c *Config) {
		c.Answer = func(c *fasthttp.RequestCtx) {
			fmt.Fprintf(c, "%s, %d bytes", c.Request.Header.RequestURI(), len(c.Request.Body()))
		}
	})
	f, rider := ns.add(0, new(judge).Submit, nil), ridersOf(1, 2, 1)[0]
	for i := range 3 {
		var req fasthttp.Request
		uri := fmt.Sprintf("/v1/riders/%d", i)
		req.Header.SetRequestURI(uri)
		req.Header.SetHost("api.example.org")
		req.Header.SetContentLength(20)
		req.SetBodyString("twenty bytes of body")
		var c fasthttp.RequestCtx
		c.Init(&req, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}, nil)
		if passed, err := f.Pass(&c, rider); !passed || err != nil {
			t.Fatalf("read %d: passed %v, %v", i, passed, err)
		}
		if got, want := string(c.Response.Body()), uri+", 0 bytes"; got != want {
			t.Errorf("read %d: %q, want %q", i, got, want)
		}
	}
}

// A read without Host, as HTTP/1.0 allows, is passed on, too: an error that it makes here would be taken for the peer's,
// and pings of all riders there would be refused.
func TestPassWithoutHost(t *testing.T) {
	ns := newNodes(t, 2)
	ns.add(1, new(judge).Submit, func(c *Config) {
		c.Answer = func(c *fasthttp.RequestCtx) { fmt.Fprintf(c, "%s", c.Request.Header.RequestURI()) }
	})
	f, rider := ns.add(0, new(judge).Submit, nil), ridersOf(1, 2, 1)[0]
	for _, uri := range []string{"/v1/riders/r?x=1", "http:///v1/riders/r?x=1", "http://api.example.org/v1/riders/r?x=1"} {
		var req fasthttp.Request
		req.Header.SetRequestURI(uri)
		req.Header.SetProtocol("HTTP/1.0")
		var c fasthttp.RequestCtx
		c.Init(&req, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}, nil)
		if passed, err := f.Pass(&c, rider); !passed || err != nil {
			t.Errorf("GET %s: passed %v, %v", uri, passed, err)
		} else if got := string(c.Response.Body()); got != "/v1/riders/r?x=1" {
			t.Errorf("GET %s: the peer was asked for %q", uri, got)
		}
	}
	if list := f.Trouble(); len(list) > 0 {
		t.Errorf("by these reads the peer is taken for away: %q", list)
	}
}

// The memory of a message that is kept is bounded by that of all its jobs.
func TestMemoryOfAMessage(t *testing.T) {
	b := new(bundle)
	for range 8 {
		p := new(posted)
		p.job.Pings = jobOf(ridersOf(-1, 2, 1), mostKept).Pings
		b.jobs = append(b.jobs, p)
	}
	if b.large() {
		t.Error("a message of many jobs of 4096 pings is not kept")
	}
	for range 8 {
		p := new(posted)
		p.job.Pings = jobOf(ridersOf(-1, 2, 1), 4*mostKept).Pings
		b.jobs = append(b.jobs, p)
	}
	b.jobs = b.jobs[:1] // the others wait for the next message
	if !b.large() {
		t.Error("160,000 pings are kept")
	}
}
