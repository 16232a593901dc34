package conns

import (
	"net"
	"net/netip"
)

// HostOf returns the IP address of a, without port and zone.
func HostOf(a net.Addr) (addr netip.Addr) {
	if tcp, ok := a.(*net.TCPAddr); ok {
		addr, _ = netip.AddrFromSlice(tcp.IP)
	}
	return addr.Unmap()
}

// NetworkOf returns the /64 of an IPv6 address, because a client with an address in it
// has 2^64 of them. An IPv4 address is returned as it is.
func NetworkOf(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		network, _ := addr.Prefix(64)
		return network.Addr()
	}
	return addr
}
