package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// seal proves requests and answers by a secret that all nodes have. A request has a header
//
//	Pingline-Peer: 1 UNIX-SECONDS SHA256(BODY) MAC
//
// where MAC is the HMAC-SHA256 over the method, the URI, the seconds, the client and the body's hash. So the head is
// checked before anything is read of the body. The answer to a message is proved by the HMAC over the request's MAC and
// the answer's body: an address that has come to be somebody else's acknowledges nothing.
type seal struct {
	macs sync.Pool // of hash.Hash
	now  func() time.Time
}

const (
	peerHeader   = "Pingline-Peer"
	clientHeader = "Pingline-Client"     // address and port of the client of a read
	proofHeader  = "Pingline-Peer-Proof" // of an answer
	clockHeader  = "Pingline-Peer-Clock" // seconds since 1970, of a refusal because of them
	sealForm     = "1"
	validFor     = 5 * time.Minute // before and behind a stamp: clocks of nodes differ
)

func newSeal(secret []byte) *seal {
	key := append([]byte(nil), secret...)
	return &seal{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}, now: time.Now}
}

// mac returns the HMAC over some fields, in hexadecimal. Each is preceded by its length, so that none can run into the next.
func (s *seal) mac(fields ...string) string {
	h := s.macs.Get().(hash.Hash)
	defer s.macs.Put(h)
	h.Reset()
	var size [8]byte
	for _, f := range fields {
		binary.LittleEndian.PutUint64(size[:], uint64(len(f)))
		h.Write(size[:])
		h.Write([]byte(f))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// stamp returns the value of the header of a request, and the MAC in it.
func (s *seal) stamp(method, uri, client string, body []byte) (header, mac string) {
	at, sum := strconv.FormatInt(s.now().Unix(), 10), hashOf(body)
	mac = s.mac("request", method, uri, at, client, sum)
	return strings.Join([]string{sealForm, at, sum, mac}, " "), mac
}

// proof is that of the head of a request.
type proof struct {
	sum, mac string
	clocks   bool // it is proved, and by the clock of its sender another time
}

// check returns the proof of a request by the head, and false if there is none.
func (s *seal) check(header, method, uri, client string) (p proof, ok bool) {
	f := strings.Split(header, " ")
	if len(f) != 4 || f[0] != sealForm {
		return p, false
	}
	if want := s.mac("request", method, uri, f[1], client, f[2]); subtle.ConstantTimeCompare([]byte(want), []byte(f[3])) != 1 {
		return p, false
	}
	if _, off := s.differs(f[1]); off {
		return proof{clocks: true}, false
	}
	return proof{sum: f[2], mac: f[3]}, true
}

// differs reports whether the clock of a peer shows another time, in seconds since 1970, and by how much it differs.
func (s *seal) differs(theirs string) (by string, off bool) {
	at, err := strconv.ParseInt(theirs, 10, 64)
	now := s.now().Unix()
	const valid = int64(validFor / time.Second)
	switch {
	case err == nil && at >= now-valid && at <= now+valid:
		return "", false
	case err != nil || at < 0 || at-now > 1<<33: // behind any date: no duration has room for it
		return "its clock shows no time of ours", true
	case at < now:
		return fmt.Sprintf("its clock is %v behind ours", time.Duration(now-at)*time.Second), true
	}
	return fmt.Sprintf("its clock is %v ahead of ours", time.Duration(at-now)*time.Second), true
}

// prove returns the proof of the answer to a request with that MAC.
func (s *seal) prove(mac string, answer []byte) string { return s.mac("answer", mac, hashOf(answer)) }

// proves reports whether a proof is that of the answer.
func (s *seal) proves(proof, mac string, answer []byte) bool {
	return subtle.ConstantTimeCompare([]byte(s.prove(mac, answer)), []byte(proof)) == 1
}
