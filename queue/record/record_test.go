package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Records on disk must be readable by every later version.
const goldenRecord = "01" + "b292b033" + "0300000000000000" +
	"0100000000000000" + "0200000000000000" + "0000000000000000" + "ffffffffffffffff" +
	"0500000000000000" + "0400000000000000" + "0000000000000000" + "0000000000000000" +
	"612070696e67"

const goldenOwned = "02" + "1f8c871d" + "0300000000000000" +
	"0100000000000000" + "0200000000000000" + "0000000000000000" + "ffffffffffffffff" +
	"0500000000000000" + "0400000000000000" + "0000000000000000" + "0000000000000000" +
	"0700000000000000" + "0200000000000000" +
	"612070696e67"

func TestRecordLayout(t *testing.T) {
	plain := Record{Number: 3, Before: Totals{1, 2, 0, 1<<64 - 1}, Totals: Totals{5, 4, 0, 0}, Payload: []byte("a ping")}
	owned := plain
	owned.Epoch, owned.Trimmed = 7, 2
	for golden, r := range map[string]Record{goldenRecord: plain, goldenOwned: owned} {
		if got := hex.EncodeToString(Encode(&r)); got != golden {
			t.Errorf("Encode = %s, want %s", got, golden)
		}
		stored, err := hex.DecodeString(golden)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("Decode = %+v, want %+v", got, r)
		}
		if head := Header(r.Epoch); head != len(stored)-len(r.Payload) {
			t.Errorf("Header(%d) = %d, want %d", r.Epoch, head, len(stored)-len(r.Payload))
		}
	}
}

// The payload is copied: the caller may use its memory again.
func TestRecordOwnsItsPayload(t *testing.T) {
	payload := []byte("a ping")
	r := Record{Number: 1, Payload: payload}
	b := Encode(&r)
	clear(payload)
	if !bytes.Equal(r.Payload, []byte("a ping")) || &r.Payload[0] != &b[Header(0)] {
		t.Errorf("Payload = %q, want a part of what is stored", r.Payload)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	for _, golden := range []string{goldenRecord, goldenOwned} {
		whole, err := hex.DecodeString(golden)
		if err != nil {
			t.Fatal(err)
		}
		for n := range whole {
			if _, err := Decode(whole[:n]); !errors.Is(err, ErrInvalid) {
				t.Errorf("%d of %d bytes: %v, want ErrInvalid", n, len(whole), err)
			}
		}
		for bit := range 8 * len(whole) {
			b := bytes.Clone(whole)
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := Decode(b); !errors.Is(err, ErrInvalid) {
				t.Errorf("bit %d flipped: %v, want ErrInvalid", bit, err)
			}
		}
	}
	zero := Record{Number: 0}
	if _, err := Decode(Encode(&zero)); !errors.Is(err, ErrInvalid) {
		t.Errorf("number 0: %v, want ErrInvalid", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 100, 5000} {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		for _, epoch := range []uint64{0, 7} {
			r := Record{Number: rng.Uint64(), Epoch: epoch, Totals: Totals{rng.Uint64()}, Payload: payload}
			f.Add(Encode(&r))
		}
	}
	f.Add([]byte{})
	f.Add(make([]byte, Header(0)))
	f.Add(make([]byte, Header(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(b []byte) bool {
			r, err := Decode(b)
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Errorf("Decode(%x): %v, want ErrInvalid", b, err)
				}
				return false
			}
			if got := Encode(&r); !bytes.Equal(got, b) {
				t.Errorf("Encode(Decode(%x)) = %x", b, got)
			}
			return true
		}
		check(b)
		// The same with a checksum that matches, which chance does not find.
		for version, epoch := range map[byte]uint64{1: 0, 2: 1} {
			if len(b) < Header(epoch) {
				continue
			}
			b = bytes.Clone(b)
			b[0] = version
			binary.LittleEndian.PutUint32(b[offsetSum:], crc32.Checksum(b[offsetNumber:], castagnoli))
			zero := binary.LittleEndian.Uint64(b[offsetNumber:]) == 0 || version == 2 && binary.LittleEndian.Uint64(b[header:]) == 0
			if check(b) == zero {
				t.Errorf("Decode(%x) took it: %v, want %v", b, !zero, !zero)
			}
		}
	})
}
