package pingline

import (
	"fmt"
	"math/bits"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Number i of the table has bit 1<<i, is the field of that name and keeps to its range.
func TestNumbers(t *testing.T) {
	for i := range Numbers {
		var f Fix
		n, k := &Numbers[i], Known(1)<<i
		for _, v := range []float64{n.Lo, n.Hi} {
			if f.SetOptional(k, v) || f.Known != k || f.Numbers()[i] != float32(v) || optionalOf(&f, k) != float32(v) {
				t.Errorf("%s of %v: %+v", n.Key, v, f)
			}
		}
		if !f.SetOptional(k, n.Hi+1) || f != (Fix{}) {
			t.Errorf("%s beyond its range: %+v", n.Key, f)
		}
		if got := strings.NewReplacer("[", "", "]", "").Replace(n.Range); got != fmt.Sprint(short(n.Lo), ", ", short(n.Hi)) {
			t.Errorf("%s: the range is %s, the table says %v to %v", n.Key, n.Range, n.Lo, n.Hi)
		}
	}
	if bits.Len8(uint8(knownMask)) != len(Numbers) {
		t.Errorf("%d bits for %d numbers", bits.Len8(uint8(knownMask)), len(Numbers))
	}
}

// short writes a number as documents do: 1e6, but 1000.
func short(v float64) string {
	s := fmt.Sprintf("%g", v)
	if v >= 1e5 || v <= -1e5 {
		s = strings.Replace(fmt.Sprintf("%.0e", v), "e+0", "e", 1)
	}
	return s
}

func TestKeys(t *testing.T) {
	want := []string{"rider_id", "ts", "lat", "lon", "speed", "heading", "accuracy", "altitude", "battery", "device_id", "event", "trip_id"}
	if !slices.Equal(KeyNames[:], want) {
		t.Errorf("keys are %q, want %q", KeyNames, want)
	}
	for k, name := range KeyNames {
		if got, ok := KeyOf([]byte(name)); !ok || got != PingKey(k) || got.String() != name {
			t.Errorf("KeyOf(%s) = %d, %v, want %d", name, got, ok, k)
		}
		for _, other := range []string{name[1:], name[:len(name)-1], name + "x", "x" + name[1:], strings.ToUpper(name), name[:len(name)-1] + "\xff"} {
			if got, ok := KeyOf([]byte(other)); ok {
				t.Errorf("KeyOf(%q) = %s", other, got)
			}
		}
	}
	if k, ok := KeyOf(nil); ok {
		t.Errorf("KeyOf of nothing is %s", k)
	}
}

// The documents list the keys of a ping, and its numbers with unit and range, as the
// tables do.
func TestDocumentsListThePingsKeys(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	api := read("docs/openapi.yaml")
	ping, answer := section(t, api, "    Ping:\n"), section(t, api, "    Point:\n")
	keys := func(text string) (list []string) {
		for _, m := range regexp.MustCompile(`(?m)^        (\w+):`).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		slices.Sort(list)
		return list
	}
	all := slices.Sorted(slices.Values(append(KeyNames[:], KeyAttrs)))
	if got := keys(ping); !slices.Equal(got, all) {
		t.Errorf("docs/openapi.yaml: a ping has the keys %q, want %q", got, all)
	}
	stored := slices.Sorted(slices.Values(append(slices.Clone(KeyNames[KeyRider+1:]), KeyAttrs, "cell", "skipped", "late", "clock", "waiting")))
	if got := keys(answer); !slices.Equal(got, stored) {
		t.Errorf("docs/openapi.yaml: a stored point has the keys %q, want %q", got, stored)
	}
	page, _, _ := strings.Cut(read("docs/api.md"), "\n**Answer, 200**")
	_, table, _ := strings.Cut(page, "\n| field | type | rule |\n")
	listed := 0
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(table, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			listed++
			if _, ok := KeyOf([]byte(strings.Trim(name, "`"))); !ok && name != "`"+KeyAttrs+"`" {
				t.Errorf("docs/api.md: %s is no key", name)
			}
		}
	}
	if listed != int(Keys)+1 {
		t.Errorf("docs/api.md lists %d keys, want %d", listed, Keys+1)
	}
	var columns []string
	for _, n := range Numbers {
		columns = append(columns, "`"+n.Key+"`")
		unit, unitInTable := "", ""
		if n.Unit != "" {
			unit, unitInTable = n.Unit+", ", ", "+n.Unit
		}
		if line := fmt.Sprintf("        %s: {type: number, format: float, nullable: true, description: %q}\n", n.Key, unit+n.Range); !strings.Contains(ping, line) {
			t.Errorf("docs/openapi.yaml: a ping lacks %s", line)
		}
		if line := fmt.Sprintf("        %s: {type: number, format: float}\n", n.Key); !strings.Contains(answer, line) {
			t.Errorf("docs/openapi.yaml: a stored point lacks %s", line)
		}
		inTable := strings.NewReplacer("-", "−", "1e5", "10⁵", "1e6", "10⁶").Replace(n.Range)
		if row := fmt.Sprintf("| `%s` | number%s | %s |\n", n.Key, unitInTable, inTable); !strings.Contains(table, row) {
			t.Errorf("docs/api.md lacks %s", row)
		}
	}
	if list := strings.Join(columns, ", "); !strings.Contains(read("docs/influxdb.md"), list) {
		t.Errorf("docs/influxdb.md lacks %s", list)
	}
}

// section returns the lines behind a head that are deeper than it.
func section(t *testing.T, text, head string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, head)
	if !ok {
		t.Fatalf("there is no %s", head)
	}
	end := regexp.MustCompile(`(?m)^ {0,4}\S`).FindStringIndex(rest)
	if end == nil {
		return rest
	}
	return rest[:end[0]]
}
