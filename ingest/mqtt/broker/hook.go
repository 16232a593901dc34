package broker

import (
	"errors"
	"strings"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"pingline/ingest/auth"
	"pingline/ingest/mqtt"
	"pingline/ingest/mqtt/link"
	"pingline/ingest/server/conns"
)

// hook decides in the library's place who is let in, and what becomes of a message.
type hook struct {
	mochi.HookBase
	b *Broker
}

func (h *hook) ID() string { return "pingline" }

func (h *hook) Provides(of byte) bool {
	switch of {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnPublish, mochi.OnSessionEstablished, mochi.OnDisconnect:
		return true
	}
	return false
}

// Stop and Init do nothing.
func (h *hook) Stop() error    { return nil }
func (h *hook) Init(any) error { return nil }

// member is a client that was let in.
type member struct {
	*link.Link
	id            *auth.Identity // nil: there are no keys
	authorization string         // "" if it was let in by its certificate
	will          mochi.Will
	resumed       bool // a session of the client is remembered
}

// OnConnect lets a client in, or answers why not. The library knows of no last will, because it
// would keep delayed ones for ever, and keeps no session.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	l, ok := cl.Net.Conn.(*link.Link)
	if !ok {
		return errors.New("a connection is none of ours")
	}
	m := &member{Link: l, will: cl.Properties.Will}
	if code := h.b.enter(m, &pk.Connect); code.Code != packets.CodeSuccess.Code {
		_ = h.b.server.SendConnack(cl, code, false, nil)
		return code
	}
	cl.Properties.Will = mochi.Will{}
	cl.Properties.Clean = true
	cl.ID = string(pk.Connect.Username) + "\x00" + cl.ID // none may end the connection of another rider by its name
	cl.Net.Conn = m
	h.b.mu.Lock()
	h.b.links[l] = cl
	h.b.mu.Unlock()
	if pk.Connect.Clean {
		h.b.sessions.end(cl.ID)
	} else {
		m.resumed = h.b.sessions.begin(cl.ID, time.Now())
	}
	return nil
}

// OnSessionEstablished is called behind the CONNACK, which told how long a session is
// remembered: the library forgets it with its connection.
func (h *hook) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	cl.Properties.Props.SessionExpiryInterval = 0
}

// enter finds out who a client is.
func (b *Broker) enter(m *member, c *packets.ConnectParams) packets.Code {
	if b.cfg.Gate == nil {
		return packets.CodeSuccess
	}
	now, from := time.Now(), b.client(m.Link)
	shown := auth.Credentials{Secret: c.Password, User: c.Username, Shown: len(c.Password) > 0}
	id := certified(m.Link, now)
	if shown.Shown || id == nil {
		var err error
		if id, err = b.cfg.Gate.Enter(&shown, from, now); err != nil {
			return refusal(err)
		}
		m.authorization = "Bearer " + string(c.Password)
	}
	if err := b.cfg.Gate.NeedScope(id, auth.Write, false, from, now); err != nil {
		return packets.ErrBadUsernameOrPassword
	}
	if user := string(c.Username); user != "" && !id.Riders.Has(user) {
		b.foreign(id, from, now, "this key is not for the rider that is the user name")
		return packets.ErrBadUsernameOrPassword
	}
	m.id = id
	return packets.CodeSuccess
}

// refusal returns the answer to a client that is not let in. MQTT 3.1.1 has "not authorized"
// for it, or, where waiting helps, "server unavailable".
func refusal(err error) packets.Code {
	if denied, ok := errors.AsType[*auth.Denied](err); ok && denied.Cause == auth.TooMany {
		return packets.ErrServerUnavailable
	}
	return packets.ErrBadUsernameOrPassword
}

// certified returns whom the client certificate of a link names, or nil.
func certified(l *link.Link, now time.Time) *auth.Identity {
	conn, ok := l.Conn.(interface{ Identity() *auth.Identity })
	if !ok {
		return nil
	}
	if id := conn.Identity(); id != nil && !id.Ended(now) {
		return id
	}
	return nil
}

// client returns where a link comes from.
func (b *Broker) client(l *link.Link) auth.Client {
	addr := conns.NetworkOf(conns.HostOf(l.RemoteAddr()))
	return auth.Client{Addr: addr, Key: b.senders.Key(addr)}
}

// foreign tells of a sender that names a rider who is none of its own.
func (b *Broker) foreign(id *auth.Identity, from auth.Client, now time.Time, text string) {
	_ = b.cfg.Gate.NotRider(id, text, from, now) // counted and logged
}

// OnConnectAuthenticate lets in whom OnConnect did.
func (h *hook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

// OnACLCheck lets messages pass to OnPublish, and has no subscription kept.
func (h *hook) OnACLCheck(_ *mochi.Client, _ string, write bool) bool { return write }

// OnPacketRead hides the topics of the system, which the library would leave without an
// acknowledgement.
func (h *hook) OnPacketRead(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Publish && strings.HasPrefix(pk.TopicName, "$") {
		pk.TopicName = "ignored/" + pk.TopicName
	}
	return pk, nil
}

// OnPacketEncode tells a client of its session, and grants subscriptions, of which none was
// kept: an app whose subscription is refused may show that as an error, or connect anew.
func (h *hook) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		m, ok := cl.Net.Conn.(*member)
		pk.SessionPresent = ok && m.resumed && cl.Properties.ProtocolVersion > 3 && pk.ReasonCode == packets.CodeSuccess.Code
	case packets.Suback:
		for i, code := range pk.ReasonCodes {
			if code == packets.ErrNotAuthorized.Code || code == packets.ErrUnspecifiedError.Code {
				pk.ReasonCodes[i] = packets.CodeGrantedQos0.Code
			}
		}
	case packets.Pubcomp: // its PUBREC kept nothing
		if pk.ReasonCode == packets.ErrPacketIdentifierNotFound.Code {
			pk.ReasonCode, pk.Properties.ReasonString = packets.CodeSuccess.Code, ""
		}
	}
	return pk
}

// OnPublish has a message taken, and acknowledges it itself, so that no other line of code
// does: the library takes most errors of a hook for a success.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	m, ok := cl.Net.Conn.(*member)
	if !ok {
		cl.Stop(packets.ErrServerUnavailable)
		return pk, packets.ErrRejectPacket
	}
	code, err := h.b.publish(m, pk.TopicName, pk.Payload)
	switch {
	case err == nil:
		h.b.acknowledge(cl, &pk, code)
	case pk.FixedHeader.Qos == 0:
		h.b.count.Add(mqtt.Lost)
		if code == packets.ErrNotAuthorized {
			h.b.end(cl, code)
		}
	default:
		h.b.count.Add(mqtt.Again)
		h.b.end(cl, code)
	}
	return pk, packets.ErrRejectPacket
}

// errAgain says that a message was not taken.
var errAgain = errors.New("not taken")

// publish has a message taken, and returns the code of its acknowledgement, or errAgain and
// the code with which the connection ends.
func (b *Broker) publish(m *member, topic string, payload []byte) (packets.Code, error) {
	rider, device, ok := mqtt.Names(topic)
	if !ok {
		b.count.Add(mqtt.Ignored)
		return packets.CodeSuccess, nil
	}
	if m.id != nil && !m.id.Riders.Has(rider) {
		b.count.Add(mqtt.Foreign)
		b.foreign(m.id, b.client(m.Link), time.Now(), "this key is not for the rider of the topic")
		return packets.ErrNotAuthorized, nil
	}
	result := b.try(m, &mqtt.Message{
		Rider: rider, Device: device, Payload: payload, TooLarge: m.Cut() > 0,
		From: m.RemoteAddr(), Authorization: m.authorization, Identity: certified(m.Link, time.Now()),
	})
	switch {
	case result.Done():
		b.count.Add(mqtt.Taken)
		return packets.CodeSuccess, nil
	case result.Denied():
		return packets.ErrNotAuthorized, errAgain
	}
	return packets.ErrServerBusy, errAgain
}

// try hands a message to the server until its result is sealed, or patience, the connection or
// the broker ends.
func (b *Broker) try(m *member, msg *mqtt.Message) mqtt.Result {
	until := time.Now().Add(b.cfg.patience)
	for {
		result := b.cfg.Take(msg)
		left := time.Until(until)
		if result.Done() || result.Denied() || left <= 0 {
			return result
		}
		select {
		case <-time.After(min(result.Pause(), left)):
		case <-m.Done():
			return result
		case <-b.stop:
			return result
		}
	}
}

// acknowledge answers a message by its QoS.
func (b *Broker) acknowledge(cl *mochi.Client, pk *packets.Packet, code packets.Code) {
	ack := packets.Packet{PacketID: pk.PacketID, ReasonCode: code.Code}
	switch pk.FixedHeader.Qos {
	case 0:
		return
	case 1:
		ack.FixedHeader.Type = packets.Puback
	default:
		ack.FixedHeader.Type = packets.Pubrec
	}
	if err := cl.WritePacket(ack); err != nil {
		cl.Stop(err)
	}
}

// end ends a connection, and tells a client of MQTT 5 why.
func (b *Broker) end(cl *mochi.Client, code packets.Code) {
	if cl.Properties.ProtocolVersion >= 5 {
		_ = b.server.DisconnectClient(cl, code)
		return
	}
	cl.Stop(code) // MQTT 3.1.1 has no word for it
}

// OnDisconnect has the last will of a client taken that left without a word. It needs no
// acknowledgement, and is tried once.
func (h *hook) OnDisconnect(cl *mochi.Client, err error, _ bool) {
	m, ok := cl.Net.Conn.(*member)
	if !ok || err == nil || m.will.Flag == 0 {
		return
	}
	select {
	case <-h.b.stop: // it is the broker that leaves
		return
	default:
	}
	_, _ = h.b.publish(m, m.will.TopicName, m.will.Payload)
}
