package sender

import (
	"net"
	"net/netip"
	"testing"
)

// forwarded are the lines of X-Forwarded-For in a head.
type forwarded []string

func (f forwarded) PeekAll(name string) (lines [][]byte) {
	if name == "X-Forwarded-For" {
		for _, line := range f {
			lines = append(lines, []byte(line))
		}
	}
	return lines
}

func TestWhoTheClientIs(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, tt := range []struct {
		name      string
		remote    string
		forwarded []string
		want      string
	}{
		{"nobody between", "203.0.113.9", nil, "203.0.113.9"},
		{"says it is another", "203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		{"behind our proxy", "10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"behind two of ours", "10.0.0.1", []string{"198.51.100.1, 10.9.9.9"}, "198.51.100.1"},
		{"two headers", "10.0.0.1", []string{"198.51.100.1", "198.51.100.2,10.9.9.9"}, "198.51.100.2"},
		{"made up before our proxy", "10.0.0.1", []string{"1.2.3.4, 198.51.100.1"}, "198.51.100.1"},
		{"made up, and ours in it", "10.0.0.1", []string{"10.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"no header", "10.0.0.1", nil, "10.0.0.1"},
		{"nonsense", "10.0.0.1", []string{"unknown"}, "10.0.0.1"},
		{"nonsense before a proxy of ours", "10.0.0.1", []string{"x, 10.2.2.2"}, "10.2.2.2"},
		{"empty", "10.0.0.1", []string{""}, "10.0.0.1"},
		{"a trailing comma", "10.0.0.1", []string{"198.51.100.1,"}, "10.0.0.1"},
		{"with a port", "10.0.0.1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"only ours", "10.0.0.1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"version 6", "2001:db8::1", []string{"2a00:1:2:3:4:5:6:7"}, "2a00:1:2:3::"},
		{"version 6 with a port", "2001:db8::1", []string{"[2a00:1:2:3:4:5:6:7]:80"}, "2a00:1:2:3::"},
		{"4 in 6", "::ffff:10.0.0.1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tt.remote), 1))
			if got := New(trusted).Of(remote, forwarded(tt.forwarded)).Addr; got.String() != tt.want {
				t.Errorf("the client is %v, want %v", got, tt.want)
			}
		})
	}
}
