package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// ambiguous are requests of which a proxy before us might see another end than we
// do, each with the refusal.
var ambiguous = []struct{ name, said, want string }{
	{"two lengths", post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n[]    ", "more than one Content-Length"},
	{"the same length twice", post + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n[]   ", "more than one Content-Length"},
	{"a list of lengths", post + "Content-Length: 5, 5\r\n\r\n[]   ", `Content-Length "5, 5"`},
	{"a sign", post + "Content-Length: +5\r\n\r\n[]   ", `Content-Length "+5"`},
	{"below zero", post + "Content-Length: -1\r\n\r\n", `Content-Length "-1"`},
	{"hex", post + "Content-Length: 0x5\r\n\r\n[]   ", `Content-Length "0x5"`},
	{"a length with a space in it", post + "Content-Length: 1 2\r\n\r\n[]   ", `Content-Length "1 2"`},
	{"no length", post + "Content-Length:\r\n\r\n", `Content-Length ""`},
	{"a length beyond all", post + "Content-Length: 18446744073709551621\r\n\r\n[]   ", "Content-Length"},
	{"length and chunks", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length beside Transfer-Encoding"},
	{"chunks and length", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "Content-Length beside Transfer-Encoding"},
	{"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"chunked, chunked", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"identity", post + "Transfer-Encoding: identity\r\n\r\n", "is not chunked, once"},
	{"xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"quoted", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"a tab that is none", post + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "control character"},
	{"an empty one", post + "Transfer-Encoding:\r\n\r\n", "is not chunked, once"},
	{"chunks in HTTP/1.0", "POST /v1/pings HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "in HTTP/1.0"},
	{"two hosts", post + "Host: y\r\nContent-Length: 2\r\n\r\n[]", "more than one Host"},
	{"the same host twice", post + "hOST: x\r\nContent-Length: 2\r\n\r\n[]", "more than one Host"},
	{"no host", "POST /v1/pings HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]", "no Host"},
	{"NUL in a value", post + "X: a\x00b\r\nContent-Length: 2\r\n\r\n[]", "control character"},
	{"CR in a value", post + "X: a\rContent-Length: 9\r\nContent-Length: 2\r\n\r\n[]", "control character"},
	{"LF alone", post + "X: a\nContent-Length: 2\r\n\r\n[]", "does not end in CR LF"},
	{"LF alone at the end of the head", post + "Content-Length: 2\r\n\n[]", "does not end in CR LF"},
	{"LF alone behind the request line", "POST /v1/pings HTTP/1.1\nHost: x\r\n\r\n", "does not end in CR LF"},
	{"a folded line", post + "X: a\r\n b\r\nContent-Length: 2\r\n\r\n[]", "header line"},
	{"a folded line with a colon", post + "X: a\r\n\tContent-Length: 9\r\nContent-Length: 2\r\n\r\n[]", "header line"},
	{"a folded line first", "POST /v1/pings HTTP/1.1\r\n Host: y\r\nHost: x\r\n\r\n", "header line"},
	{"a space before the colon", post + "Content-Length : 2\r\n\r\n[]", "header line"},
	{"a tab before the colon", post + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", "header line"},
	{"a name that is none", post + "Con(tent: 2\r\n\r\n[]", "header line"},
	{"no name", post + ": 2\r\n\r\n[]", "header line"},
	{"no colon", post + "Content-Length 2\r\n\r\n[]", "header line"},
	{"many header lines", post + strings.Repeat("a:\r\n", maxFields) + "\r\n", "more than 100 header lines"},
	{"many parameters", "POST /v1/pings?" + strings.Repeat("a&", maxFields) + " HTTP/1.1\r\nHost: x\r\n\r\n", "more than 100 parameters"},
	{"spaces in the target", "POST /v1/pings x HTTP/1.1\r\nHost: x\r\n\r\n", "request line"},
	{"two spaces", "POST  /v1/pings HTTP/1.1\r\nHost: x\r\n\r\n", "request line"},
	{"another version", "POST /v1/pings HTTP/1.2\r\nHost: x\r\n\r\n", "request line"},
	{"no version", "GET /healthz\r\n\r\n", "request line"},
	{"version 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request line"},
	{"another method", "get /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n", "request line"},
	{"a body of GET", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n", "a body of GET or HEAD"},
	{"chunks of GET", "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "a body of GET or HEAD"},
	{"a body of HEAD", "HEAD /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "a body of GET or HEAD"},
	{"a chunk size in C", chunks + "0x2\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size with a sign", chunks + "+2\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size behind a space", chunks + " 2\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size before a space", chunks + "2 \r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"no chunk size", chunks + "\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"an extension alone", chunks + ";x\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size beyond all", chunks + "10000000000000002\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size that ends in LF", chunks + "2\n[]\r\n0\r\n\r\n", "does not end in CR LF"},
	{"an extension with LF in it", chunks + "2;x\ny\r\n[]\r\n0\r\n\r\n", "does not end in CR LF"},
	{"an endless extension", chunks + "2;" + strings.Repeat("x", 9000), "a line of more than 256 bytes"},
	{"a chunk that is longer than it says", chunks + "2\r\n[]]\r\n0\r\n\r\n", "behind a chunk"},
	{"a chunk that ends in LF", chunks + "2\r\n[]\n0\r\n\r\n", "does not end in CR LF"},
	{"fields behind the last chunk", chunks + "2\r\n[]\r\n0\r\nContent-Length: 5\r\n\r\n", "behind a chunk"},
}

const chunks = post + "Transfer-Encoding: chunked\r\n\r\n"

// check2 feeds f what is said, cut at two places, and returns its error.
func (f *framing) check2(said string, cut, again int) error {
	for _, part := range []string{said[:cut], said[cut:again], said[again:]} {
		if pass, err := f.check([]byte(part)); err != nil || pass != len(part) {
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
			f := framing{}
			if err := f.check2(plain, cut, again); err != nil || f.state != atRequest {
				t.Fatalf("plain requests cut at %d and %d: state %d, %v", cut, again, f.state, err)
			}
		}
	}
	for _, tt := range ambiguous {
		said := healthy + tt.said
		for cut := 0; cut < min(len(said), 300); cut++ {
			for again := cut; again < min(len(said), 300); again += 7 {
				if err := new(framing).check2(said, cut, again); !errors.Is(err, errFraming) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("%s, cut at %d and %d: %v, want %q", tt.name, cut, again, err, tt.want)
				}
			}
		}
	}
}

// An ambiguous request gets 400 and the end of the connection; those before it are
// answered, nothing behind it is taken for one, and no ping of it is judged.
func TestAmbiguousRequestsEndTheConnection(t *testing.T) {
	s, _ := testServer(t, Config{})
	for _, tt := range ambiguous {
		t.Run(tt.name, func(t *testing.T) {
			for _, before := range []string{"", healthy} {
				w := dial(t, s)
				said := strings.Replace(tt.said, "[]", onePing("r", 1), 1)
				go func() { _, _ = fmt.Fprint(w, before+said+strings.Repeat(healthy, 200)) }()
				if before != "" {
					if a := w.hear(); a.status != 200 {
						t.Errorf("the request before: %d %s", a.status, a.body)
					}
				}
				if a := w.hear(); a.status != 400 || !strings.Contains(a.body, "malformed request") || !w.ended() {
					t.Errorf("%d %s, want 400 and the end", a.status, a.body)
				}
			}
		})
	}
	if n := s.Stats().Received; n != 0 {
		t.Errorf("%d pings were received", n)
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
	for _, tt := range ambiguous {
		f.Add(tt.said, len(tt.said)/2, len(tt.said))
	}
	f.Fuzz(func(t *testing.T, said string, cut, again int) {
		if len(said) > maxChunkLine || cut < 0 || cut > again || again > len(said) {
			return
		}
		whole, parts := framing{}, framing{}
		err, perr := whole.check2(said, 0, 0), parts.check2(said, cut, again)
		if (err == nil) != (perr == nil) || err == nil && (whole.state != parts.state || whole.left != parts.left) {
			t.Errorf("%q: %v, in parts cut at %d and %d: %v", said, err, cut, again, perr)
		}
	})
}

func BenchmarkFraming(b *testing.B) {
	body := onePing("r-00-0000", 1)
	said := []byte(fmt.Sprintf(post+"User-Agent: phone/1.0\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	f := framing{}
	b.ReportAllocs()
	b.SetBytes(int64(len(said)))
	for b.Loop() {
		if _, err := f.check(said); err != nil {
			b.Fatal(err)
		}
	}
}
