package carried

import (
	"bytes"
	"testing"

	"pingline"
)

func attrs(t testing.TB, list ...pingline.PointField) pingline.Attrs {
	t.Helper()
	a, err := pingline.NewAttrs(list...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t testing.TB, keep ...string) *Carried {
	t.Helper()
	c, err := New(keep, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// from takes bytes off the front of b, and zeros behind its end.
func from(b []byte) func(n int) []byte {
	return func(n int) []byte {
		if len(b) < n {
			b = nil
			return make([]byte, n)
		}
		v := b[:n]
		b = b[n:]
		return v
	}
}

// What a checkpoint has is what was known; values of names that are watched no more are
// forgotten, and others are found by their names.
func TestLoadAfterAppend(t *testing.T) {
	c := open(t, "door", "fuel")
	first := attrs(t, pingline.Text("door", "open"), pingline.Float("fuel", 0.5))
	c.Note(3, 1000, first)
	c.Note(3, 500, attrs(t, pingline.Text("door", "closed")))
	c.Hold(3, false, first)
	c.Hold(3, true, attrs(t, pingline.Bool("on", true)))
	text := c.Append(nil, 3)
	again := open(t, "fuel", "door")
	if !again.Load(7, from(text)) {
		t.Fatal("not loaded")
	}
	for _, back := range []bool{false, true} {
		if got := again.Held(7, back); got != c.Held(3, back) {
			t.Errorf("held %q", got)
		}
	}
	if again.Bytes() != c.Bytes() {
		t.Errorf("%d bytes, want %d", again.Bytes(), c.Bytes())
	}
	for _, tt := range []struct {
		at   int64
		list pingline.Attrs
		want bool
	}{
		{2000, first, false},
		{2000, attrs(t, pingline.Text("door", "closed")), true},
		{700, attrs(t, pingline.Text("door", "closed")), false},
		{700, attrs(t, pingline.Text("door", "open")), true},
		{700, attrs(t, pingline.Float("fuel", 0.5)), true},
		{2000, attrs(t, pingline.Bool("other", true)), false},
	} {
		if a, b := c.Changed(3, tt.at, tt.list), again.Changed(7, tt.at, tt.list); a != tt.want || b != tt.want {
			t.Errorf("%s at %d is a change: %v, and once loaded %v; want %v", tt.list.AppendJSON(nil), tt.at, a, b, tt.want)
		}
	}
	other := open(t, "charge")
	if !other.Load(1, from(text)) || !other.Changed(1, 2000, attrs(t, pingline.Float("charge", 1))) || other.Changed(1, 2000, first) {
		t.Error("a value of another name counts")
	}
}

func TestForgottenTracksTakeNoBytes(t *testing.T) {
	c := open(t, "door")
	for i := range uint32(10) {
		c.Note(i+1, 1, attrs(t, pingline.Text("door", "open")))
		c.Hold(i+1, i%2 == 0, attrs(t, pingline.Text("note", "some text that is long")))
	}
	if c.Bytes() == 0 || c.Empty() {
		t.Error("nothing is known")
	}
	for i := range uint32(11) {
		c.Forget(i)
	}
	if c.Bytes() != 0 || !c.Empty() {
		t.Errorf("%d bytes of no track", c.Bytes())
	}
}

// A state that is loaded is written as it was, and no bytes make Load panic.
func FuzzLoad(f *testing.F) {
	c := open(f, "door", "fuel")
	c.Note(1, 5, attrs(f, pingline.Text("door", "open")))
	c.Hold(1, false, attrs(f, pingline.Float("fuel", 1)))
	f.Add(c.Append(nil, 1))
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := open(t, "door", "fuel")
		if !c.Load(1, from(b)) || !c.Has(1) {
			return
		}
		once := c.Append(nil, 1)
		again := open(t, "door", "fuel")
		if !again.Load(1, from(once)) || !bytes.Equal(again.Append(nil, 1), once) || again.Bytes() != c.Bytes() {
			t.Errorf("%x is loaded as %x, and that as %x", b, once, again.Append(nil, 1))
		}
	})
}
