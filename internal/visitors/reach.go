package visitors

import (
	"bytes"
	"net"
	"os"
)

// surroundings decide whether a phone reaches this machine.
type surroundings struct {
	container, wsl bool
	route          net.IP // by which this machine reaches others; nil: none
}

// here looks around. No packet is sent.
func here() (s surroundings) {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			s.container = true
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.wsl = bytes.Contains(bytes.ToLower(release), []byte("microsoft"))
	}
	// A datagram socket takes the address by which it would send; 192.0.2.1 is nobody's (RFC 5737).
	if conn, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			s.route = addr.IP
		}
		_ = conn.Close()
	}
	return s
}

// reach returns the address at which a phone in the same network reaches a listener, or why
// none does. A firewall, or a wireless network that keeps its clients apart, cannot be seen from here.
func reach(listens net.IP, s surroundings) (ip net.IP, why string) {
	switch {
	case listens.IsLoopback():
		return listens, "--phone-listen is this machine's own address, which no phone reaches."
	case !listens.IsUnspecified():
		return listens, ""
	case s.container:
		return net.IPv4(127, 0, 0, 1), "this is a container, whose address no phone reaches."
	case s.wsl:
		return net.IPv4(127, 0, 0, 1), "this is Linux in Windows, whose address no phone reaches."
	case s.route == nil || s.route.IsLoopback():
		return net.IPv4(127, 0, 0, 1), "this machine is in no network."
	}
	return s.route, ""
}
