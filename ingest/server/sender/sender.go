// Package sender finds out which client a request comes from. Limits are for each client.
//
// A client is an address, not a person: all behind a network's gateway are one client,
// unless the gateway is a trusted proxy. Nobody proves who they are here.
package sender

import (
	"bytes"
	"hash/maphash"
	"net"
	"net/netip"

	"pingline/ingest/server/conns"
)

// Sender is the client of a request.
type Sender struct {
	Addr netip.Addr // for IPv6 the network, because a client with an IPv6 address has 2^64 of them
	Key  uint64     // of the client in rates and budgets
	Ours bool       // the client is trusted itself, and sends for many clients
}

// Finder finds the client of a request. It is safe for concurrent use.
type Finder struct {
	trusted []netip.Prefix // proxies whose X-Forwarded-For says who the client is
	seed    maphash.Seed   // of the keys of clients
}

// New returns a Finder that trusts proxies.
func New(proxies []netip.Prefix) *Finder {
	return &Finder{trusted: proxies, seed: maphash.MakeSeed()}
}

// Head is the head of a request.
type Head interface {
	// PeekAll returns the values of all lines of the header of that name.
	PeekAll(name string) [][]byte
}

// Of returns the client of a request: the address at the other end of the connection or, if
// that is a trusted proxy, the last address in X-Forwarded-For that is not trusted.
func (f *Finder) Of(remote net.Addr, head Head) Sender {
	addr := conns.HostOf(remote)
	ours := f.Trusts(addr)
	if ours {
		addr = f.forwarded(head, addr)
		ours = f.Trusts(addr)
	}
	addr = conns.NetworkOf(addr)
	return Sender{addr, f.Key(addr), ours}
}

// Key returns the key of a client in rates and budgets.
func (f *Finder) Key(addr netip.Addr) uint64 {
	b := addr.As16()
	return maphash.Bytes(f.seed, b[:])
}

// forwarded walks X-Forwarded-For back from the trusted proxy at. Text that is no
// address ends the walk, because no trusted proxy has written it.
func (f *Finder) forwarded(head Head, at netip.Addr) netip.Addr {
	lines := head.PeekAll("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; len(rest) > 0; {
			hop := rest[bytes.LastIndexByte(rest, ',')+1:]
			rest = bytes.TrimSuffix(rest[:len(rest)-len(hop)], []byte(","))
			addr, ok := parseHop(string(bytes.TrimSpace(hop)))
			if !ok {
				return at
			}
			if at = addr; !f.Trusts(at) {
				return at
			}
		}
	}
	return at
}

// parseHop reads an address, with a port or without.
func parseHop(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if addr, err := netip.ParseAddrPort(text); err == nil {
		return addr.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// Trusts reports whether addr is of a trusted proxy.
func (f *Finder) Trusts(addr netip.Addr) bool {
	for _, p := range f.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
