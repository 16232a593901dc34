package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"pingline/internal/unit"
	"pingline/rollup"
)

// network is a range of addresses, written 10.0.0.0/8, or an address.
type network netip.Prefix

func (n *network) UnmarshalText(text []byte) error {
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		addr, err := netip.ParseAddr(string(text))
		if err != nil {
			return fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	*n = network(p.Masked())
	return nil
}

func (n network) String() string { return netip.Prefix(n).String() }

func prefixes(list []network) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, n := range list {
		out[i] = netip.Prefix(n)
	}
	return out
}

// resolutions are the roll-up's H3 resolutions, written 8,6,4; an empty list
// is off.
type resolutions struct{ list []int }

func (r *resolutions) UnmarshalText(text []byte) error {
	r.list = nil
	if string(text) == "off" {
		return nil
	}
	for part := range strings.SplitSeq(string(text), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is neither off nor resolutions such as 8,6,4", text)
		}
		r.list = append(r.list, n)
	}
	return rollup.CheckResolutions(r.list)
}

func (r resolutions) String() string { return join(r.list, "off") }

// windows are the lengths of the roll-up's windows, written 10s,1m.
type windows struct{ list []time.Duration }

func (w *windows) UnmarshalText(text []byte) error {
	w.list = nil
	for part := range strings.SplitSeq(string(text), ",") {
		var d unit.Span
		if d.UnmarshalText([]byte(strings.TrimSpace(part))) != nil {
			return fmt.Errorf("%q is not windows such as 10s,1m", text)
		}
		w.list = append(w.list, time.Duration(d))
	}
	return rollup.CheckWindows(w.list)
}

func (w windows) String() string { return join(w.list, "") }

func join[T any](list []T, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
}

// inWords reads a T as kong does, and says of a wrong value what it should be, as
// want.
func inWords[T any](want string) kong.Option {
	reader := kong.NewRegistry().RegisterDefaults().ForType(reflect.TypeFor[T]())
	return kong.TypeMapper(reflect.TypeFor[T](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		value := ctx.Scan.Peek()
		err := reader.Decode(ctx, target)
		if err != nil && value.IsValue() {
			return fmt.Errorf("%q is not %s", fmt.Sprint(value.Value), want)
		}
		return err
	}))
}

// readTime reads a time.Duration that may be in days, as unit.Span does.
func readTime(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	var s unit.Span
	if err := s.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	target.SetInt(int64(s))
	return nil
}
