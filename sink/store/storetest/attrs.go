package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// Dressed returns entries with attributes of every kind, and some without.
func Dressed(t testing.TB, seed uint64) []pingline.Entry {
	t.Helper()
	list := Fleet(seed, 100)
	of := func(fields ...pingline.PointField) pingline.Attrs {
		a, err := pingline.NewAttrs(fields...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var most, longest []pingline.PointField
	for i := range pingline.MostAttrs {
		most = append(most, pingline.Float(fmt.Sprintf("a%02d%s", i, strings.Repeat("n", pingline.MaxAttrName-3)), float64(i)+0.1))
	}
	for i := range 13 {
		longest = append(longest, pingline.Text(fmt.Sprintf("t%02d", i), strings.Repeat(`"`, pingline.MaxAttrText)))
	}
	kinds := []pingline.Attrs{
		of(pingline.Float("fuel", 0.4), pingline.Text("door", "open")),
		of(pingline.Float("fuel", 1e-9), pingline.Bool("on", true)),
		of(pingline.Float("fuel", -1e300), pingline.Bool("on", false)),
		of(pingline.Float("fuel", 0)), of(pingline.Float("fuel", 9007199254740993)), of(pingline.Float("fuel", 12)),
		of(pingline.Text("door", "")), of(pingline.Text("door", `a "b" \ c`)), of(pingline.Text("door", "it's, x=y {z} 李 🚕 \u2028 <b>&")), of(pingline.Text("door", "null")),
		of(pingline.Text("Upper", "1")), of(pingline.Text("_x9", "true")),
		of(most...), of(longest...), "",
	}
	for i := range list {
		list[i].Attrs = kinds[i%len(kinds)]
	}
	return list
}

func testAttributes(t *testing.T, p *Place) {
	p.seen(t)
	d, ok := p.Store.(store.AttrsDropper)
	if drops := ok && d.DropsAttrs() != ""; drops != p.NoAttrs {
		t.Errorf("it drops attributes: %v, and its row says %v", drops, p.NoAttrs)
	}
	if p.NoAttrs {
		t.Skip("this store keeps no attributes")
	}
	list := Dressed(t, 21)
	for i := range list {
		if row := p.Store.AppendRow(nil, &list[i]); len(row) > store.MaxRow || !bytes.Equal(row, p.Store.AppendRow(nil, &list[i])) {
			t.Fatalf("row of %d bytes, %q", len(row), row)
		}
	}
	write(t, p.Store, list)
	write(t, p.Store, list)
	p.has(t, list)
}

// Upgrade holds a store to the rules of tables that were made before there were attributes.
// They are taken as they are: pings are written and read without attributes, and an operator
// is told of the statement that changes it. Pingline alters nothing; execute does. open opens
// the same tables again, and closes the store when the test ends.
func Upgrade(t *testing.T, open func() store.Store, execute func(statements string) error) {
	t.Helper()
	list := Dressed(t, 22)
	bare := slices.Clone(list)
	for i := range bare {
		bare[i].Attrs = ""
	}
	before := open()
	write(t, before, list)
	same(t, read(t, before.(store.Reader), store.All()), bare)
	why := before.(store.AttrsDropper).DropsAttrs()
	at := strings.Index(why, "ALTER TABLE ")
	statements, last, _ := strings.Cut(why[max(at, 0):], "; then ")
	if at < 0 || last != "start Pingline again" {
		t.Fatalf("that attributes are dropped is told by %q", why)
	}
	told := false
	for _, f := range before.(store.Checker).Check(t.Context()) {
		if f.Remedy != "" {
			t.Errorf("%+v", f)
		}
		told = told || strings.Contains(f.Found, why)
	}
	if !told {
		t.Errorf("Check does not tell that %s", why)
	}
	if err := execute(statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	after := open()
	same(t, read(t, after.(store.Reader), store.All()), bare)
	write(t, after, list)
	if why := after.(store.AttrsDropper).DropsAttrs(); why != "" {
		t.Errorf("attributes are dropped: %s", why)
	}
	same(t, read(t, after.(store.Reader), store.All()), list)
	write(t, after, bare)
	same(t, read(t, after.(store.Reader), store.All()), bare)
}
