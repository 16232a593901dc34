package fault

import (
	"math"
	"strings"
	"testing"

	"pingline"
)

const monday = 1_767_600_000_000

func every(share float64) (s Spec) {
	for k := range s {
		s[k] = share
	}
	return s
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Spec{
		"":                             {},
		"resend=0.05, cut=1":           {Resend: 0.05, Cut: 1},
		"all=0.5":                      every(0.5),
		"double=0":                     {},
		"accuracy=0.25,teleport=1e-03": {Accuracy: 0.25, Teleport: 0.001},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q is read as %v: %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%v is written as %q", got, got.String())
		}
	}
	if s, err := Parse("zero=0,all=0.5"); err != nil || s[Zero] != 0 || s[Cut] != 0.5 {
		t.Errorf("all but zero are %v: %v", s, err)
	}
	for text, want := range map[string]string{
		"resnd=0.1":         `"resnd" is no fault: they are all, resend, double,`,
		"resend":            "resend=: not a share in [0, 1]",
		"resend=5%":         "resend=5%: not a share in [0, 1]",
		"resend=-1":         "not a share",
		"resend=1.5":        "not a share",
		"resend=NaN":        "not a share",
		"cut=0.1,cut=0.2":   "cut is given twice",
		"resend=0.1,,cut=1": `"" is no fault`,
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Each kind strikes as often as its share says, the same ones for the same seed.
func TestSharesAreKept(t *testing.T) {
	const share, n = 0.1, 200_000
	f, same, other := New(every(share), 7), New(every(share), 7), New(every(share), 8)
	var count [Kinds]int
	differ := 0
	count2 := func(set Mask) {
		for k := range Kinds {
			if set.Has(k) {
				count[k]++
			}
		}
	}
	for i := range int64(n) {
		phone, at := int(i/10), monday+i%10*7001*1000
		p := pingline.Ping{Fix: pingline.Fix{At: at, LatE7: 411_579_000, LonE7: -86_291_000}}
		p.SetOptional(pingline.HasAccuracy, 5)
		q, r := p, p
		set := f.Bend(&p, phone, at)
		if set != same.Bend(&q, phone, at) || p != q {
			t.Fatalf("phone %d at %d: %+v and %+v", phone, at, p, q)
		}
		if other.Bend(&r, phone, at); r != p {
			differ++
		}
		if set.Has(Skew) && !set.Has(Jump) && math.Abs(float64(p.At-at)) > 90_000 {
			t.Fatalf("a clock is off by %d ms", p.At-at)
		}
		if set.Has(Zero) != (p.LatE7 == 0) || set.Has(Accuracy) == p.Has(pingline.HasAccuracy) || set.Has(Jump) == (math.Abs(float64(p.At-at)) < 1e9) {
			t.Fatalf("faults %b made %+v", set, p)
		}
		set, _ = f.Request(phone, i)
		if again, _ := same.Request(phone, i); again != set {
			t.Fatalf("request %d: %b and %b", i, set, again)
		}
		count2(set)
		set = f.Bend(&q, phone, at)
		count2(set)
		if f.Offline(phone, at) {
			count[Offline]++
		}
		if since, yes := f.Frozen(phone, at); yes {
			count[Frozen]++
			if at-since < 0 || at-since >= frozenFor {
				t.Fatalf("at %d it is stuck since %d", at, since)
			}
		}
	}
	for k, c := range count {
		if got := float64(c) / n; math.Abs(got-share) > 0.01 {
			t.Errorf("%v strikes %.3f of the time, want %g", Fault(k), got, share)
		}
	}
	if differ < n/10 {
		t.Errorf("another seed makes other pings %d times of %d", differ, n)
	}
}

// A clock that drifts never stands still or goes back, but where it is set.
func TestSkewedClocksGoForwards(t *testing.T) {
	f := New(Spec{Skew: 1}, 3)
	for phone := range 50 {
		last, back := int64(0), 0
		for at := int64(monday); at < monday+24*3_600_000; at += 10_007 {
			p := pingline.Ping{Fix: pingline.Fix{At: at}}
			f.Bend(&p, phone, at)
			if p.At <= last {
				back++
			}
			last = p.At
		}
		if back > 2 {
			t.Errorf("the clock of phone %d goes back %d times in a day", phone, back)
		}
	}
}

func TestNoFaults(t *testing.T) {
	f := New(Spec{}, 1)
	p := pingline.Ping{Fix: pingline.Fix{At: monday}}
	set, _ := f.Request(1, 1)
	_, stuck := f.Frozen(1, monday)
	if f != nil || set != 0 || stuck || f.Offline(1, monday) || f.Bend(&p, 1, monday) != 0 || p.At != monday {
		t.Error("without shares there are faults")
	}
}
