package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"pingline/ingest/auth/reread"
	"pingline/ingest/server/rate"
)

// KeyRing are the keys of a file, which is read again when it changes. If it then cannot be
// read, the keys stay as they were. It is safe for concurrent use.
type KeyRing struct {
	path   string
	logger *slog.Logger
	rates  *rate.Buckets
	table  atomic.Pointer[map[Hash]*known]
	note   atomic.Pointer[string] // why the file cannot be read, or ""

	file *reread.Copy // used by OpenKeyRing and Run alone
}

// known is a key, and who its sender is.
type known struct {
	KeyRow
	id *Identity
}

// OpenKeyRing reads a file of keys. A nil logger logs nothing.
func OpenKeyRing(path string, logger *slog.Logger) (*KeyRing, error) {
	k := &KeyRing{path: path, logger: cmp.Or(logger, slog.New(slog.DiscardHandler)), file: reread.New(path), rates: rate.New(tokensPerSecond, rateBurst*tokensPerSecond, ratesTracked)}
	k.note.Store(new(string))
	text, _, err := k.file.Look()
	if err != nil {
		return nil, err
	}
	if err := k.take(text); err != nil {
		return nil, err
	}
	if mode := k.file.Mode(); mode&0o022 != 0 {
		k.logger.Warn("others may write the file of keys, and so let themselves in", "file", path, "mode", mode)
	}
	return k, nil
}

// take makes the keys of text the keys.
func (k *KeyRing) take(text []byte) error {
	keys, err := ParseKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", k.path, err)
	}
	table, before := make(map[Hash]*known, len(keys)), map[Hash]*known{}
	if t := k.table.Load(); t != nil {
		before = *t
	}
	for i := range keys {
		if was := before[keys[i].Hash]; was != nil && reflect.DeepEqual(was.KeyRow, keys[i]) {
			table[keys[i].Hash] = was
			continue
		}
		id, err := keys[i].identity()
		if err != nil {
			return err
		}
		table[keys[i].Hash] = &known{keys[i], id.limited(k.rates, binary.LittleEndian.Uint64(keys[i].Hash[:]), keys[i].Rate)}
	}
	k.table.Store(&table)
	for hash, was := range before {
		if table[hash] != was {
			was.id.ended.Store(true)
		}
	}
	return nil
}

// Run reads the file again when it has changed, until ctx is cancelled.
func (k *KeyRing) Run(ctx context.Context) error {
	k.file.Follow(ctx, k.changed)
	return nil
}

// changed takes the text of the file, if it can be read.
func (k *KeyRing) changed(text []byte, err error) {
	if err == nil {
		err = k.take(text)
	}
	note := ""
	if err != nil {
		note = fmt.Sprintf("--keys: the keys stay as they were, because the file cannot be read: %v", err)
	}
	switch was := *k.note.Swap(&note); {
	case note != "" && note != was:
		k.logger.Error("the keys stay as they were, because the file cannot be read", "error", err)
	case note == "":
		k.logger.Info("keys are read again", "file", k.path, "keys", len(*k.table.Load()))
	}
}

// Notes returns a sentence if the file cannot be read.
func (k *KeyRing) Notes() []string {
	if note := *k.note.Load(); note != "" {
		return []string{note}
	}
	return nil
}

// stranger is compared with a key that is not known.
var stranger = &known{id: new(Identity)}

// find returns who has shown a key, or a reason why the key lets nobody in, with who it was
// made for, or nobody.
//
// The key is looked up by its SHA-256, in a time that depends on the hash and not on the
// key. Whoever learns bits of a stored hash from the time is no nearer to the key, because
// that takes a preimage of SHA-256. So wrong keys take the same time, however near they
// are; TestTimesOfKeys shows it.
func (k *KeyRing) find(secret []byte, now time.Time) (id, of *Identity, why Cause) {
	hash := Hash(sha256.Sum256(secret))
	key, ok := (*k.table.Load())[hash]
	if !ok {
		key = stranger
	}
	same := subtle.ConstantTimeCompare(hash[:], key.Hash[:]) == 1
	works := key.Works(now)
	switch {
	case !ok || !same:
		return nil, stranger.id, Unknown
	case works:
		return key.id, key.id, ""
	case !key.Revoked.IsZero():
		return nil, key.id, Revoked
	}
	return nil, key.id, Expired
}
