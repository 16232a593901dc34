package privacy

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// Pseudonyms gives each rider another name: p- and 26 letters and digits, which are 128
// bits of the HMAC-SHA-256 of the rider's id. Who has no key can neither find the rider of a
// pseudonym nor the pseudonym of a rider; who has it, can by trying ids. A nil *Pseudonyms
// leaves riders their names. It is safe for concurrent use.
type Pseudonyms struct {
	key  []byte
	pool sync.Pool // of *hasher
}

// hasher is the state of one hash, to be used again.
type hasher struct {
	mac hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

const (
	leastKey = 32      // bytes of a key
	mostKey  = 1 << 10 // bytes of a key
	mark     = "p-"
	bits     = 128
	letters  = (bits + 4) / 5
	markLen  = len(mark) + letters
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewPseudonyms returns the pseudonyms by a key of at least 32 bytes.
func NewPseudonyms(key []byte) (*Pseudonyms, error) {
	if len(key) < leastKey || len(key) > mostKey {
		return nil, fmt.Errorf("a key of %d bytes, not in [%d, %d]", len(key), leastKey, mostKey)
	}
	p := &Pseudonyms{key: bytes.Clone(key)}
	p.pool.New = func() any { return &hasher{mac: hmac.New(sha256.New, p.key)} }
	return p, nil
}

// TryPseudonyms says in a line what a file of --pseudonyms has, and what to do if it cannot be
// used.
func TryPseudonyms(path string) (found, remedy string) {
	p, open, err := ReadPseudonyms(path)
	switch {
	case err != nil:
		return fmt.Sprintf("--pseudonyms: %v", err), "put the file right, or name another"
	case open:
		return fmt.Sprintf("%s has key %s, and others may read it, and so find riders by trying: chmod 600", path, p.Mark()), ""
	}
	return fmt.Sprintf("%s has key %s", path, p.Mark()), ""
}

// ReadPseudonyms returns the pseudonyms by the key of a file, at least 64 digits of hex. No
// error quotes the file. Open reports whether others than its owner may read or write it.
func ReadPseudonyms(path string) (p *Pseudonyms, open bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if info.Size() > 4*mostKey {
		return nil, false, fmt.Errorf("%s: %d bytes are too many for a key", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	key := make([]byte, hex.DecodedLen(len(text)))
	n, err := hex.Decode(key, bytes.TrimSpace(text))
	if err != nil || n < leastKey {
		return nil, false, fmt.Errorf("%s: not %d digits of hex or more: pingline key pseudonyms FILE makes one", path, 2*leastKey)
	}
	if p, err = NewPseudonyms(key[:n]); err != nil {
		return nil, false, fmt.Errorf("%s: %w", path, err)
	}
	return p, info.Mode().Perm()&0o077 != 0, nil
}

// MakeKey writes a new key to a file that is not there, with mode 0600.
func MakeKey(path string) error {
	var key [leastKey]byte
	_, _ = rand.Read(key[:]) // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: with another key each rider would get another pseudonym", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(hex.AppendEncode(nil, key[:]), '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Append appends the pseudonym of a rider to dst.
func (p *Pseudonyms) Append(dst []byte, rider string) []byte {
	h := p.pool.Get().(*hasher)
	h.mac.Reset()
	h.buf = append(h.buf[:0], rider...)
	_, _ = h.mac.Write(h.buf) // never fails
	sum := h.mac.Sum(h.sum[:0])
	dst = base32Lower.AppendEncode(append(dst, mark...), sum[:bits/8])
	p.pool.Put(h)
	return dst
}

// Of returns the pseudonym of a rider, by which the rider's pings are stored.
func (p *Pseudonyms) Of(rider string) string {
	if p == nil {
		return rider
	}
	return string(p.Append(nil, rider))
}

// Stored returns the name by which a rider is stored whom a reader asks for: an id that has
// the form of a pseudonym is one.
func (p *Pseudonyms) Stored(rider string) string {
	if p == nil || IsPseudonym(rider) {
		return rider
	}
	return p.Of(rider)
}

// Names returns all names by which pings of a rider may be stored: the id itself is that of
// pings from before there were pseudonyms.
func (p *Pseudonyms) Names(rider string) []string {
	if stored := p.Stored(rider); stored != rider {
		return []string{stored, rider}
	}
	return []string{rider}
}

// Mark returns some digits that tell keys apart, and nothing of the key.
func (p *Pseudonyms) Mark() string {
	m := hmac.New(sha256.New, p.key) // of "", which is no rider
	return hex.EncodeToString(m.Sum(nil)[:4])
}

// IsPseudonym reports whether an id has the form of a pseudonym.
func IsPseudonym(id string) bool {
	if len(id) != markLen || !strings.HasPrefix(id, mark) {
		return false
	}
	for i := len(mark); i < len(id); i++ {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return strings.IndexByte("aeimquy4", id[markLen-1]) >= 0 // its last two bits are 0
}
