package owntracks

import (
	"encoding/base64"
	"errors"
	"time"

	"golang.org/x/crypto/nacl/secretbox"

	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// keySize is the size of a key: a secret, padded with zeros.
const keySize = 32

// nonceSize is the size of the nonce before an encrypted message.
const nonceSize = 24

// Why a message that may be a fix cannot be read.
var (
	errNoSecret = errors.New("encrypted, and there is no secret of its rider in --owntracks-secrets")
	errSealed   = errors.New("encrypted by another secret than its rider has in --owntracks-secrets, or broken")
)

// addEncrypted adds the fix of a message of the type encrypted, whose data are base64 of a
// nonce and a box of XSalsa20 and Poly1305 (libsodium's secretbox). The names that a topic
// has are inside of it, so the rider whose secret opens it is named outside, and then it is of
// that rider, whatever is inside.
func (p *protocol) addEncrypted(data lenient.Value, n *senderNames, now time.Time, to *phone.Pings) error {
	of := *n
	of.rider = n.outside()
	key := p.key(of.rider)
	if key == nil {
		return to.Reject(errNoSecret)
	}
	box, err := base64.StdEncoding.DecodeString(data.Text())
	if err != nil || len(box) < nonceSize {
		return to.Reject(errSealed)
	}
	plain, ok := secretbox.Open(nil, box[nonceSize:], (*[nonceSize]byte)(box), key)
	if !ok {
		return to.Reject(errSealed)
	}
	v, err := lenient.Parse(plain)
	if err != nil {
		return to.Reject(err)
	}
	if m := payloadOf(v); m[kind].Text() == "location" {
		return m.add(&of, now, to)
	}
	return nil
}
