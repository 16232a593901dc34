package main

import (
	"strings"
	"testing"
)

func TestSkipsAreNamedWithTheirReason(t *testing.T) {
	const said = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: no influxd: build it\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: fine\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC/part","Output":"    c_test.go:7: broken\n"}
{"Action":"fail","Package":"p","Test":"TestC/part"}
{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:9: no influxd: build it\n"}
{"Action":"skip","Package":"p","Test":"TestD"}
{"Action":"skip","Package":"p","Test":"TestE"}
not JSON
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"skip","Package":"q"}
`
	const want = `    c_test.go:7: broken
not JSON
FAIL	p	0.1s

3 tests and parts of tests were skipped:
  no influxd: build it: 2
    p.TestA
    p.TestD
  no reason given: 1
    p.TestE
`
	var got strings.Builder
	r := newReport(&got, false)
	r.read(strings.NewReader(said))
	r.summary()
	if got.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", got.String(), want)
	}
}
