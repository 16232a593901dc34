package ingest

import (
	"bytes"
	"hash/maphash"
	"net"
	"net/netip"

	"github.com/gofiber/fiber/v2"
)

// client returns who sent a request, as far as can be told: the address at the
// other end of the connection or, if that is a proxy we trust, the last one in
// X-Forwarded-For that is not. Whoever has an IPv6 address has 2^64 of them, so
// of these it is the network.
func (s *Server) client(c *fiber.Ctx) netip.Addr {
	addr := netip.Addr{}
	if tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr); ok {
		addr, _ = netip.AddrFromSlice(tcp.IP)
		addr = addr.Unmap()
	}
	if s.trusts(addr) {
		addr = s.forwarded(c, addr)
	}
	if addr.Is6() {
		network, _ := addr.Prefix(64)
		return network.Addr()
	}
	return addr
}

// forwarded walks X-Forwarded-For back from the trusted proxy at. What is no
// address ends the walk: nobody we trust has written it.
func (s *Server) forwarded(c *fiber.Ctx, at netip.Addr) netip.Addr {
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

func (s *Server) trusts(addr netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addrKey is key of an address.
func (r *rates) addrKey(addr netip.Addr) uint64 {
	if r == nil {
		return 0
	}
	b := addr.As16()
	return maphash.Bytes(r.seed, b[:])
}
