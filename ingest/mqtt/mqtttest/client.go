// Package mqtttest is a client of MQTT for tests, which sends what it is told and hides
// nothing: packets are seen as they come, and nothing is sent again.
//
// Source: MQTT 3.1.1, 2 and 3; MQTT 5.0, 2 and 3.
package mqtttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Types of packets.
const (
	Connack    = 2
	Puback     = 4
	Pubrec     = 5
	Pubcomp    = 7
	Suback     = 9
	Pingresp   = 13
	Disconnect = 14
)

// Publisher is a connection.
type Publisher struct {
	net.Conn
	Version byte // 3, 4 or 5; 0 means 4
	in      *bufio.Reader
}

// Packet is a packet that has come: its type, and the bytes behind its fixed header.
type Packet struct {
	Type byte
	Body []byte
}

// On returns a client of a connection.
func On(c net.Conn, version byte) *Publisher { return &Publisher{c, version, bufio.NewReader(c)} }

// Dial connects to an address. The connection is closed with the test.
func Dial(t testing.TB, addr string, version byte) *Publisher {
	t.Helper()
	c, err := Redial(t, addr, version)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Redial is Dial to an address at which there may be nobody.
func Redial(t testing.TB, addr string, version byte) (*Publisher, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return On(c, version), nil
}

// Will is the last will of a client.
type Will struct {
	Topic   string
	Payload string
}

// Connect is a packet CONNECT.
type Connect struct {
	ID             string
	User, Password string // "": none
	Keep           bool   // the session
	Will           *Will
}

// Bytes returns the packet.
func (o *Connect) Bytes(version byte) []byte {
	name := "MQTT"
	if version == 3 {
		name = "MQIsdp"
	}
	body := append(text(nil, name), version)
	flags := byte(0)
	if !o.Keep {
		flags |= 0x02
	}
	if o.Will != nil {
		flags |= 0x04 | 0x08 | 0x20 // QoS 1, retained
	}
	if o.Password != "" {
		flags |= 0x40
	}
	if o.User != "" {
		flags |= 0x80
	}
	body = append(body, flags, 0, 60)
	if version >= 5 {
		if o.Keep {
			body = append(body, 5, 0x11, 0, 0, 255, 255) // session expiry
		} else {
			body = append(body, 0)
		}
	}
	body = text(body, o.ID)
	if o.Will != nil {
		if version >= 5 {
			body = append(body, 0)
		}
		body = text(text(body, o.Will.Topic), o.Will.Payload)
	}
	if o.User != "" {
		body = text(body, o.User)
	}
	if o.Password != "" {
		body = text(body, o.Password)
	}
	return packet(0x10, body)
}

// Publish returns a packet PUBLISH, retained as the app sends it. The id is of QoS 1 and 2.
func Publish(version byte, topic, payload string, qos byte, id uint16, again bool) []byte {
	body := text(nil, topic)
	if qos > 0 {
		body = append(body, byte(id>>8), byte(id))
	}
	if version >= 5 {
		body = append(body, 0)
	}
	first := 0x30 | qos<<1 | 1
	if again {
		first |= 0x08
	}
	return packet(first, append(body, payload...))
}

// Subscribe returns a packet SUBSCRIBE.
func Subscribe(version byte, filter string) []byte {
	body := []byte{0, 9}
	if version >= 5 {
		body = append(body, 0)
	}
	return packet(0x82, append(text(body, filter), 1))
}

// Pubrel returns a packet PUBREL.
func Pubrel(id uint16) []byte { return packet(0x62, []byte{byte(id >> 8), byte(id)}) }

// The packets that are always the same.
var (
	Pingreq = []byte{0xc0, 0}
	Leaving = []byte{0xe0, 0}
)

func text(to []byte, s string) []byte {
	return append(append(to, byte(len(s)>>8), byte(len(s))), s...)
}

func packet(first byte, body []byte) []byte {
	out := []byte{first}
	for n := len(body); ; {
		digit := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			digit |= 0x80
		}
		if out = append(out, digit); n == 0 {
			return append(out, body...)
		}
	}
}

// Enter sends CONNECT and returns the code of the CONNACK, and whether a session is there.
func (c *Publisher) Enter(o Connect) (code byte, session bool, err error) {
	if _, err := c.Write(o.Bytes(c.version())); err != nil {
		return 0, false, err
	}
	p, err := c.Next()
	if err != nil {
		return 0, false, err
	}
	if p.Type != Connack || len(p.Body) < 2 {
		return 0, false, fmt.Errorf("the answer to CONNECT is %+v", p)
	}
	return p.Body[1], p.Body[0]&1 != 0, nil
}

func (c *Publisher) version() byte {
	if c.Version == 0 {
		return 4
	}
	return c.Version
}

// Send publishes a message of QoS 1.
func (c *Publisher) Send(topic, payload string, id uint16) error {
	_, err := c.Write(Publish(c.version(), topic, payload, 1, id, false))
	return err
}

// Next returns the next packet, within two minutes unless a deadline is set.
func (c *Publisher) Next() (Packet, error) {
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	first, err := c.in.ReadByte()
	if err != nil {
		return Packet{}, err
	}
	size := 0
	for shift := 0; ; shift += 7 {
		b, err := c.in.ReadByte()
		if err != nil {
			return Packet{}, err
		}
		size |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	p := Packet{first >> 4, make([]byte, size)}
	_, err = io.ReadFull(c.in, p.Body)
	return p, err
}

// Quiet reports whether nothing comes within a moment.
func (c *Publisher) Quiet(moment time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(moment))
	_, err := c.in.Peek(1)
	return err != nil && err != io.EOF
}
