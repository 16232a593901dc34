package server

import (
	"bytes"
	"hash/maphash"
	"net/netip"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/conns"
)

// senders tells who sends. It is safe for concurrent use.
type senders struct {
	trusted []netip.Prefix // proxies whose X-Forwarded-For says who the client is
	seed    maphash.Seed   // of the keys of clients
}

// client returns who sent a request, as far as can be told: the address at the
// other end of the connection or, if that is a proxy we trust, the last one in
// X-Forwarded-For that is not. Of IPv6 it is the network, as whoever has an
// address there has 2^64 of them. A client that is ours is itself one of those we
// trust.
func (s *senders) client(c *fiber.Ctx) (addr netip.Addr, ours bool) {
	addr = conns.HostOf(c.Context().RemoteAddr())
	if ours = s.trusts(addr); ours {
		addr = s.forwarded(c, addr)
		ours = s.trusts(addr)
	}
	return conns.NetworkOf(addr), ours
}

// keyOf returns a client as rates and budgets know it.
func (s *senders) keyOf(addr netip.Addr) uint64 {
	b := addr.As16()
	return maphash.Bytes(s.seed, b[:])
}

// forwarded walks X-Forwarded-For back from the trusted proxy at. What is no
// address ends the walk: nobody we trust has written it.
func (s *senders) forwarded(c *fiber.Ctx, at netip.Addr) netip.Addr {
	lines := c.Request().Header.PeekAll(fiber.HeaderXForwardedFor)
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; len(rest) > 0; {
			hop := rest[bytes.LastIndexByte(rest, ',')+1:]
			rest = bytes.TrimSuffix(rest[:len(rest)-len(hop)], []byte(","))
			addr, ok := parseHop(string(bytes.TrimSpace(hop)))
			if !ok {
				return at
			}
			if at = addr; !s.trusts(at) {
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

func (s *senders) trusts(addr netip.Addr) bool {
	for _, p := range s.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
