package broker

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"pingline/ingest/mqtt/mqtttest"
)

// BenchmarkIdleConnections reports the memory of a phone that is connected and sends nothing. The
// other end of its connection, a few hundred bytes, is of this process, too.
func BenchmarkIdleConnections(b *testing.B) {
	const phones = 5000
	for b.Loop() {
		broker, end := run(b, Config{Take: new(taker).take, MaxConnections: 2 * phones, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		before := inUse()
		list := make([]net.Conn, phones)
		for i := range list {
			c, err := net.Dial("tcp", broker.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.Write((&mqtttest.Connect{ID: fmt.Sprint("phone-", i), User: "ana", Keep: true}).Bytes(4)); err != nil {
				b.Fatal(err)
			}
			var ack [4]byte
			if _, err := io.ReadFull(c, ack[:]); err != nil || ack[3] != 0 {
				b.Fatalf("phone %d: CONNACK %d, %v", i, ack[3], err)
			}
			list[i] = c
		}
		b.ReportMetric(float64(inUse()-before)/phones, "B/phone")
		for _, c := range list {
			c.Close()
		}
		if err := end(); err != nil {
			b.Fatal(err)
		}
	}
}

// inUse returns the bytes that the process uses, without garbage.
func inUse() uint64 {
	runtime.GC()
	runtime.GC() // what the first has finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
