package conns

import (
	"net"
	"net/netip"
)

// HostOf returns the address of a host, without port and zone.
func HostOf(a net.Addr) (addr netip.Addr) {
	if tcp, ok := a.(*net.TCPAddr); ok {
		addr, _ = netip.AddrFromSlice(tcp.IP)
	}
	return addr.Unmap()
}

// NetworkOf returns the /64 of an IPv6 address, and any other as it is: whoever has an
// address in an IPv6 network has 2^64 of them.
func NetworkOf(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		network, _ := addr.Prefix(64)
		return network.Addr()
	}
	return addr
}
