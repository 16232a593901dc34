package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pingline"
	"pingline/ingest/privacy"
)

// KeyRow is a line of a file of keys: all that is known of a key but the key itself.
//
// The file has the SHA-256 of each key. A key is 32 random bytes, so nobody can find it by
// trying; slow hashes are for secrets that people choose (NIST SP 800-63B, 5.1.1.2).
type KeyRow struct {
	Name    string    `json:"name"`
	Hash    Hash      `json:"sha256"`
	Scopes  []string  `json:"scopes"`
	Riders  []string  `json:"riders"`                  // as ParseRiders reads them
	Rate    float64   `json:"rate,omitempty"`          // pings/s, a minute's worth at once; 0: no limit
	Zones   []string  `json:"private_zones,omitempty"` // as privacy.ParseZones reads them
	Friends []string  `json:"friends,omitempty"`       // riders, MaxFriends at most: see Identity.Friends
	Created time.Time `json:"created,omitzero"`        // for people
	Expires time.Time `json:"expires,omitzero"`        // zero: never
	Revoked time.Time `json:"revoked,omitzero"`        // zero: it is not
}

// Hash is the SHA-256 of a key, in hex as text.
type Hash [sha256.Size]byte

// MarshalText writes h in hex.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads hex.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) == hex.EncodedLen(len(h)) {
		if _, err := hex.Decode(h[:], text); err == nil {
			return nil
		}
	}
	return errors.New("sha256 is not 64 digits of hex")
}

// keyPrefix begins each key, so that programs that look for secrets in public places find
// keys.
const keyPrefix = "pl_"

// NewSecret returns a new key and its hash.
func NewSecret() (secret string, hash Hash) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return secret, sha256.Sum256([]byte(secret))
}

// Works reports whether the key lets a sender in at a time.
func (k *KeyRow) Works(now time.Time) bool {
	return k.Revoked.IsZero() && (k.Expires.IsZero() || now.Before(k.Expires))
}

// identity returns who a sender with the key is, without its rate, or an error if the key
// has a wrong setting.
func (k *KeyRow) identity() (Identity, error) {
	id := Identity{Name: k.Name}
	if err := pingline.CheckName("name", k.Name); err != nil {
		return id, err
	}
	if len(k.Scopes) == 0 {
		return id, errors.New("no scopes")
	}
	if err := id.Scopes.UnmarshalText([]byte(strings.Join(k.Scopes, ","))); err != nil {
		return id, fmt.Errorf("scopes: %w", err)
	}
	if k.Hash == (Hash{}) {
		return id, errors.New("no sha256")
	}
	if k.Rate != 0 && !(k.Rate >= leastRate && k.Rate <= mostRate) {
		return id, fmt.Errorf("rate: %v is not in [%v, %v]", k.Rate, leastRate, mostRate)
	}
	var err error
	if id.Zones, err = privacy.ParseZones(k.Zones, privacy.MaxKeyZones); err != nil {
		return id, fmt.Errorf("private_zones: %w", err)
	}
	if len(k.Friends) > MaxFriends {
		return id, fmt.Errorf("friends: %d are more than %d", len(k.Friends), MaxFriends)
	}
	if _, err := ExactRiders(k.Friends...); err != nil {
		return id, fmt.Errorf("friends: %w", err)
	}
	for _, friend := range k.Friends {
		if !slices.Contains(id.Friends, friend) {
			id.Friends = append(id.Friends, friend)
		}
	}
	id.Riders, err = ParseRiders(k.Riders)
	id.Rider, id.until, id.ended = id.Riders.Only(), k.Expires, new(atomic.Bool)
	return id, err
}

// Check returns an error if the key has a wrong setting.
func (k *KeyRow) Check() error {
	_, err := k.identity()
	return err
}

// ParseKeys reads a file of keys: a JSON object a line. Blank lines, and lines that begin
// with #, are left out. An unknown field is an error, because a misspelt expiry would
// otherwise never come. No error quotes a line that cannot be read.
func ParseKeys(text []byte) ([]KeyRow, error) {
	var keys []KeyRow
	lines := make(map[Hash]int)
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		var k KeyRow
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&k); err != nil {
			return nil, fmt.Errorf("line %d: %s", number, withoutText(err))
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d: more than a JSON object", number)
		}
		if err := k.Check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if before, ok := lines[k.Hash]; ok {
			return nil, fmt.Errorf("line %d: the same sha256 as line %d", number, before)
		}
		lines[k.Hash] = number
		keys = append(keys, k)
	}
	return keys, nil
}

// withoutText returns the text of an error of JSON without words of the file: someone may
// have put a key there.
func withoutText(err error) string {
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Sprintf("%s is not of its type", wrong.Field)
	}
	if text := err.Error(); strings.HasPrefix(text, "json: unknown field") {
		return "a field that is not known"
	}
	if errors.As(err, new(*json.UnmarshalTypeError)) || errors.As(err, new(*json.SyntaxError)) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "no JSON object"
	}
	if wrong := new(time.ParseError); errors.As(err, &wrong) {
		return "a time is not of the form 2006-01-02T15:04:05Z"
	}
	return err.Error()
}
