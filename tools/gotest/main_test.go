package main

import (
	"os"
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

// A test that fails once is named at the end; one that fails always, a data race and a panic
// fail the run.
func TestFailedTestsRunAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod": "module m\n",
		"m_test.go": `package m
import ("os"; "testing")
func once(t *testing.T, say string) {
	if f, err := os.OpenFile(t.Name(), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		f.Close()
		t.Error(say)
	}
}
func TestA(t *testing.T) { once(t, "busy") }
func TestB(t *testing.T) { t.Run("part", func(t *testing.T) { t.Error("always") }) }
func TestC(t *testing.T) { once(t, "WARNING: DATA RACE") }
func TestD(t *testing.T) { if _, err := os.Stat("TestD"); err != nil { os.Mkdir("TestD", 0o700); panic("at first") } }
`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		tests  string
		passes bool
	}{{"TestA", true}, {"TestB", false}, {"TestC", false}, {"TestD", false}} {
		var got strings.Builder
		r := newReport(&got, false)
		args := []string{"-count", "1", "-run", c.tests, "./..."}
		code, err := r.run(args)
		if code == 0 || err != nil {
			t.Fatalf("%s: exit code %d, %v:\n%s", c.tests, code, err, got.String())
		}
		if len(r.failed) <= 1 && !r.broken {
			code, err = r.runAgain(args)
		}
		r.summary()
		if (code == 0) != c.passes || err != nil {
			t.Errorf("%s: exit code %d, %v:\n%s", c.tests, code, err, got.String())
		}
		if named := strings.Contains(got.String(), "each is a fault of the test or of the code:\n  m."+c.tests+"\n"); named != c.passes {
			t.Errorf("%s: named at the end: %v:\n%s", c.tests, named, got.String())
		}
	}
}
