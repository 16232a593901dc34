// Package framingtest has requests, known to be framed correctly or not, for the tests of
// packages that read requests.
package framingtest

import (
	"fmt"
	"slices"
	"strings"
)

// Healthy is a complete request; the other constants are beginnings of requests.
const (
	Healthy = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	Post    = "POST /v1/pings HTTP/1.1\r\nHost: x\r\n"
	Chunks  = Post + "Transfer-Encoding: chunked\r\n\r\n"
)

// maxFields is framing.MaxFields, whose own tests import this package.
const maxFields = 100

// Honest lists requests as clients and proxies send them, each with the statuses of the
// server's answers.
var Honest = []struct {
	Name, Said string
	Want       []int
}{
	{"an empty line behind a body", Post + "Content-Length: 2\r\n\r\n[]\r\n", []int{200}},
	{"empty lines before a request", "\r\n\r\n" + Healthy, []int{200}},
	{"many at once", strings.Repeat(Post+"Content-Length: 2\r\n\r\n[]"+Healthy, 20), slices.Repeat([]int{200}, 40)},
	{"a GET with a length of 0", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", []int{200}},
	{"Chunked", Post + "transfer-encoding: Chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", []int{200}},
	{"CHUNKED", Post + "Transfer-Encoding:\tCHUNKED \r\n\r\n0002\r\n[]\r\n000\r\n\r\n", []int{200}},
	{"a chunk with an extension", Post + "Transfer-Encoding: chunked\r\n\r\n1;a=\"b;c\"\r\n[\r\n1;x\r\n]\r\n0;z\r\n\r\n", []int{200}},
	{"spaces about a length", Post + "Content-Length:   2 \r\n\r\n[]", []int{200}},
	{"no space before a length", Post + "Content-Length:2\r\n\r\n[]", []int{200}},
	{"a length with zeros before it", Post + "Content-Length: 0002\r\n\r\n[]", []int{200}},
	{"Expect", Post + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n[]", []int{100, 200}},
	{"Expect with chunks", Post + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", []int{100, 200}},
	{"HTTP/1.0", "POST /v1/pings HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"HTTP/1.0 that stays", strings.Repeat("POST /v1/pings HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n[]", 3), []int{200, 200, 200}},
	{"Connection: close", Post + "Connection: close\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a whole address", "GET http://x:8080/healthz HTTP/1.1\r\nHost: x:8080\r\n\r\n", []int{200}},
	{"OPTIONS of all", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + Healthy, []int{404, 200}},
	{"OPTIONS from a browser", "OPTIONS /v1/pings HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nAccess-Control-Request-Method: POST\r\n\r\n" + Healthy, []int{405, 200}},
	{"other methods with a body", "PUT /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /DELETE /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + Healthy, []int{405, 405, 200}},
	{"an empty value", Post + "X-Empty:\r\nX-Blank:   \r\nHost2: \r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"an empty Host", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", []int{200}},
	{"bytes that are not ASCII", Post + "X-Name: J\xf6rg \xc3\xb6 \xff\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a target that is not ASCII", "GET /healthz?n=J\xf6rg%20\xc3\xb6 HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}},
	{"a tab in a value", Post + "User-Agent: a\tb\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a trailer that is announced and does not come", Post + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", []int{200}},
	{"a long header", Post + "Authorization: Bearer " + strings.Repeat("x", 3500) + "\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"long headers", Post + "Authorization: Bearer " + strings.Repeat("x", 5000) + "\r\nCookie: " + strings.Repeat("y", 2000) + "\r\nContent-Length: 2\r\n\r\n[]", []int{200}},
	{"a long cookie of a proxy", Post + "Cookie: " + strings.Repeat("c", 16_000) + "\r\nContent-Length: 2\r\n\r\n[]" + Healthy, []int{200, 200}},
	{"as many headers as there may be", Post + strings.Repeat("X: y\r\n", maxFields-2) + "Content-Length: 2\r\n\r\n[]", []int{200}},
	{"as many parameters as there may be", "GET /healthz?" + strings.Repeat("a=1&", maxFields-1) + "a=1 HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}},
	{"a body that looks like requests", Post + fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*len(Healthy)) + Healthy + Healthy + Healthy, []int{400, 200}},
}

// Ambiguous lists requests whose end a proxy and the server might see at different
// places, each with a part of the refusal.
var Ambiguous = []struct{ Name, Said, Want string }{
	{"two lengths", Post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n[]    ", "more than one Content-Length"},
	{"the same length twice", Post + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n[]   ", "more than one Content-Length"},
	{"a list of lengths", Post + "Content-Length: 5, 5\r\n\r\n[]   ", `Content-Length "5, 5"`},
	{"a sign", Post + "Content-Length: +5\r\n\r\n[]   ", `Content-Length "+5"`},
	{"below zero", Post + "Content-Length: -1\r\n\r\n", `Content-Length "-1"`},
	{"hex", Post + "Content-Length: 0x5\r\n\r\n[]   ", `Content-Length "0x5"`},
	{"a length with a space in it", Post + "Content-Length: 1 2\r\n\r\n[]   ", `Content-Length "1 2"`},
	{"no length", Post + "Content-Length:\r\n\r\n", `Content-Length ""`},
	{"a length beyond all", Post + "Content-Length: 18446744073709551621\r\n\r\n[]   ", "Content-Length"},
	{"length and chunks", Post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length beside Transfer-Encoding"},
	{"chunks and length", Post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "Content-Length beside Transfer-Encoding"},
	{"chunked twice", Post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"chunked, chunked", Post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"gzip, chunked", Post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"identity", Post + "Transfer-Encoding: identity\r\n\r\n", "is not chunked, once"},
	{"xchunked", Post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"quoted", Post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "is not chunked, once"},
	{"a tab that is none", Post + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "control character"},
	{"an empty one", Post + "Transfer-Encoding:\r\n\r\n", "is not chunked, once"},
	{"chunks in HTTP/1.0", "POST /v1/pings HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "in HTTP/1.0"},
	{"two hosts", Post + "Host: y\r\nContent-Length: 2\r\n\r\n[]", "more than one Host"},
	{"the same host twice", Post + "hOST: x\r\nContent-Length: 2\r\n\r\n[]", "more than one Host"},
	{"no host", "POST /v1/pings HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]", "no Host"},
	{"NUL in a value", Post + "X: a\x00b\r\nContent-Length: 2\r\n\r\n[]", "control character"},
	{"CR in a value", Post + "X: a\rContent-Length: 9\r\nContent-Length: 2\r\n\r\n[]", "control character"},
	{"LF alone", Post + "X: a\nContent-Length: 2\r\n\r\n[]", "does not end in CR LF"},
	{"LF alone at the end of the head", Post + "Content-Length: 2\r\n\n[]", "does not end in CR LF"},
	{"LF alone behind the request line", "POST /v1/pings HTTP/1.1\nHost: x\r\n\r\n", "does not end in CR LF"},
	{"a folded line", Post + "X: a\r\n b\r\nContent-Length: 2\r\n\r\n[]", "header line"},
	{"a folded line with a colon", Post + "X: a\r\n\tContent-Length: 9\r\nContent-Length: 2\r\n\r\n[]", "header line"},
	{"a folded line first", "POST /v1/pings HTTP/1.1\r\n Host: y\r\nHost: x\r\n\r\n", "header line"},
	{"a space before the colon", Post + "Content-Length : 2\r\n\r\n[]", "header line"},
	{"a tab before the colon", Post + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", "header line"},
	{"a name that is none", Post + "Con(tent: 2\r\n\r\n[]", "header line"},
	{"no name", Post + ": 2\r\n\r\n[]", "header line"},
	{"no colon", Post + "Content-Length 2\r\n\r\n[]", "header line"},
	{"many header lines", Post + strings.Repeat("a:\r\n", maxFields) + "\r\n", "more than 100 header lines"},
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
	{"a chunk size in C", Chunks + "0x2\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size with a sign", Chunks + "+2\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size behind a space", Chunks + " 2\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size before a space", Chunks + "2 \r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"no chunk size", Chunks + "\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"an extension alone", Chunks + ";x\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size beyond all", Chunks + "10000000000000002\r\n[]\r\n0\r\n\r\n", "chunk size"},
	{"a chunk size that ends in LF", Chunks + "2\n[]\r\n0\r\n\r\n", "does not end in CR LF"},
	{"an extension with LF in it", Chunks + "2;x\ny\r\n[]\r\n0\r\n\r\n", "does not end in CR LF"},
	{"an endless extension", Chunks + "2;" + strings.Repeat("x", 9000), "a line of more than 256 bytes"},
	{"a chunk that is longer than it says", Chunks + "2\r\n[]]\r\n0\r\n\r\n", "behind a chunk"},
	{"a chunk that ends in LF", Chunks + "2\r\n[]\n0\r\n\r\n", "does not end in CR LF"},
	{"fields behind the last chunk", Chunks + "2\r\n[]\r\n0\r\nContent-Length: 5\r\n\r\n", "behind a chunk"},
}
