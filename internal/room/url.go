package room

import (
	"net"
	"strconv"
)

// URL returns the URL of an address that is listened on: of all addresses of the machine it
// is that of localhost.
func URL(a net.Addr, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return scheme + net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return scheme + a.String()
}
