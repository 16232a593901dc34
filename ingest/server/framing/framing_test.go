package framing

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pingline/ingest/server/framing/framingtest"
)

const (
	post    = framingtest.Post
	healthy = framingtest.Healthy
	chunks  = framingtest.Chunks
)

// check2 feeds g what is said, cut at two places, and returns its error.
func (g *Guard) check2(said string, cut, again int) error {
	for _, part := range []string{said[:cut], said[cut:again], said[again:]} {
		if pass, err := g.Check([]byte(part)); err != nil || pass != len(part) {
			return err
		}
	}
	return nil
}

// Wherever reads end, an ambiguous request is refused, and a plain one is not.
func TestFraming(t *testing.T) {
	plain := post + "Content-Length: 2\r\n\r\n[]" + healthy + "\r\n" + chunks + "2;x=y\r\n[]\r\nA\r\n          \r\n0\r\n\r\n" +
		"HEAD /healthz HTTP/1.0\r\n\r\n" + post + "Content-Length: 0\r\nX-\x80: \x80\r\n\r\n" + healthy
	plain = strings.Replace(plain, "X-\x80", "X-y", 1)
	for cut := range plain {
		for again := cut; again < len(plain); again += 7 {
			g := Guard{}
			if err := g.check2(plain, cut, again); err != nil || g.state != atRequest {
				t.Fatalf("plain requests cut at %d and %d: state %d, %v", cut, again, g.state, err)
			}
		}
	}
	for _, tt := range framingtest.Ambiguous {
		said := healthy + tt.Said
		for cut := 0; cut < min(len(said), 300); cut++ {
			for again := cut; again < min(len(said), 300); again += 7 {
				if err := new(Guard).check2(said, cut, again); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.Want) {
					t.Fatalf("%s, cut at %d and %d: %v, want %q", tt.Name, cut, again, err, tt.Want)
				}
			}
		}
	}
}

func TestControlCharacters(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				line := []byte(strings.Repeat("\xff", n))
				line[at] = byte(c)
				if _, found := control(line); found != (c < ' ' && c != '\t' || c == 0x7f) {
					t.Fatalf("%#02x at %d of %d is found: %v", c, at, n, found)
				}
			}
		}
	}
}

func FuzzFraming(f *testing.F) {
	f.Add(healthy+chunks+"2\r\n[]\r\n0\r\n\r\n", 5, 9)
	for _, tt := range framingtest.Ambiguous {
		f.Add(tt.Said, len(tt.Said)/2, len(tt.Said))
	}
	f.Fuzz(func(t *testing.T, said string, cut, again int) {
		if len(said) > maxChunkLine || cut < 0 || cut > again || again > len(said) {
			return
		}
		whole, parts := Guard{}, Guard{}
		err, perr := whole.check2(said, 0, 0), parts.check2(said, cut, again)
		if (err == nil) != (perr == nil) || err == nil && (whole.state != parts.state || whole.left != parts.left) {
			t.Errorf("%q: %v, in parts cut at %d and %d: %v", said, err, cut, again, perr)
		}
	})
}

func BenchmarkFraming(b *testing.B) {
	const body = `{"rider_id":"r-00-0000","ts":1760000000000,"lat":41.1,"lon":-8.6}`
	said := []byte(fmt.Sprintf(post+"User-Agent: phone/1.0\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	g := Guard{}
	b.ReportAllocs()
	b.SetBytes(int64(len(said)))
	for b.Loop() {
		if _, err := g.Check(said); err != nil {
			b.Fatal(err)
		}
	}
}
