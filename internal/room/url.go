package room

import (
	"cmp"
	"fmt"
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

// CheckAddress returns an error unless text is a host and a port to listen on; it
// does not resolve the name of the host.
func CheckAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = net.LookupPort("tcp", cmp.Or(port, "0"))
	}
	if err != nil {
		return fmt.Errorf("%q is not of the form host:port, such as :8080 or 127.0.0.1:9090", text)
	}
	return nil
}
