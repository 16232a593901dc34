package parts

import (
	"context"
	"strings"
	"testing"
	"time"
)

// openDirectory opens a directory and runs it until the test ends.
func openDirectory(t *testing.T, cfg Config, change func(*Directory)) *Directory {
	t.Helper()
	d, err := OpenDirectory(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(d)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

// The directory has the addresses of owners, also after a part has another, and none while
// nobody has a part: it was let go, or its owner is silent.
func TestDirectoryFollows(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	dir := t.TempDir()
	part, kill := startOwner(t, url, dir, "gone", short)
	b := newNode(t, url, "b", long)
	d := openDirectory(t, b.cfg, nil)
	if got, none := d.Owner(part), d.Owner(1-part); got != "gone:1" || none != "" {
		t.Fatalf("the owners are at %q and %q", got, none)
	}
	if list := d.Parts(); len(list) != 2 || list[part].Node != "gone" || list[part].Free || list[part].Part != part || list[part].Since.IsZero() || !list[1-part].Free {
		t.Errorf("the owners are %+v", list)
	}
	if err := b.take(testContext(t)); err != nil || b.part != 1-part {
		t.Fatalf("Take = part %d, %v", b.part, err)
	}
	is := func(part int, addr string) {
		t.Helper()
		eventually(t, "the owner is at "+addr, func() bool { return d.Owner(part) == addr })
		if name := strings.TrimSuffix(addr, ":1"); d.Name(part) != name {
			t.Errorf("the owner at %q is called %q", addr, d.Name(part))
		}
		if free := d.Parts()[part].Free; free != (addr == "") {
			t.Errorf("of an owner at %q, Free is %v", addr, free)
		}
	}
	is(b.part, "b:1")
	b.stop(t)
	is(b.part, "")
	kill()
	is(part, "")
	c := newNode(t, url, "c", long)
	c.cfg.Dir = dir
	if err := c.take(testContext(t)); err != nil || c.part != part {
		t.Fatalf("Take = part %d, %v", c.part, err)
	}
	is(part, "c:1")
}

// A part that is let go, or taken, is looked at without waiting for the next look.
func TestDirectoryIsTold(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	a := newNode(t, url, "a", long)
	if err := a.take(testContext(t)); err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, a.cfg, func(d *Directory) {
		d.every = func(*sight) time.Duration { return long }
	})
	if let := d.LetGo(a.part); !let.IsZero() {
		t.Errorf("a part that has an owner was let go at %v", let)
	}
	a.stop(t)
	eventually(t, "the part is let go", func() bool { return d.Owner(a.part) == "" && !d.LetGo(a.part).IsZero() })
	b := newNode(t, url, "b", long)
	b.cfg.Dir = a.cfg.Dir
	if err := b.take(testContext(t)); err != nil || b.part != a.part {
		t.Fatalf("Take = part %d, %v", b.part, err)
	}
	eventually(t, "the owner is b", func() bool { return d.Owner(a.part) == "b:1" && d.LetGo(a.part).IsZero() })
	b.stop(t)
}

// An address that is suspected is looked up without waiting for the next look, but not once for
// each time.
func TestSuspect(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	a := newNode(t, url, "a", long)
	if err := a.take(testContext(t)); err != nil {
		t.Fatal(err)
	}
	seen := make(chan time.Time, 1000)
	d := openDirectory(t, a.cfg, func(d *Directory) {
		d.every = func(*sight) time.Duration { return long }
		d.mu.Lock()
		d.deaf = true
		d.mu.Unlock()
		inner := d.seen
		d.seen = func(part int, s *sight) {
			inner(part, s)
			seen <- s.looked
		}
	})
	a.stop(t)
	b := newNode(t, url, "b", long)
	b.cfg.Dir = a.cfg.Dir
	if err := b.take(testContext(t)); err != nil || b.part != a.part {
		t.Fatalf("Take = part %d, %v", b.part, err)
	}
	if got := d.Owner(a.part); got != "a:1" {
		t.Fatalf("the directory has looked by itself: %q", got)
	}
	d.Suspect(a.part, "x:1") // nobody was told so
	for range 1000 {
		d.Suspect(a.part, "a:1")
	}
	eventually(t, "the owner is b", func() bool { return d.Owner(a.part) == "b:1" })
	last := <-seen
	for range 5 {
		d.Suspect(a.part, "b:1")
		now := <-seen
		if gap := now.Sub(last); gap < suspectLook {
			t.Errorf("two looks within %v", gap)
		}
		last = now
	}
	eventually(t, "nothing is suspected", func() bool { return len(d.suspect[a.part]) == 0 })
	if d.Suspect(a.part, "a:1"); len(d.suspect[a.part]) > 0 {
		t.Error("an address that is known to be old has a part looked at")
	}
}
