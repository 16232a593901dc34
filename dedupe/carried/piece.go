package carried

import (
	"encoding/binary"
	"hash/fnv"

	"pingline"
)

// In a checkpoint the state of a track is, little endian:
//
//	u16 length, attributes of the ping held on the open line
//	u16 length, attributes of the ping held in the backlog
//	u8  number of values; of each u32 FNV-1a of the attribute's name, u64 fingerprint of the
//	    newest value, u64 fingerprint of the value before
//	i64 time of the newest, ms, if there are values

// Has reports whether there is anything to say of track i.
func (c *Carried) Has(i uint32) bool { return c.of[i] != nil }

// Append appends the state of track i, which Has, to dst.
func (c *Carried) Append(dst []byte, i uint32) []byte {
	t := c.of[i]
	for _, a := range t.held {
		dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(a))), a...)
	}
	dst = append(dst, byte(len(t.values)))
	for k, v := range t.values {
		dst = binary.LittleEndian.AppendUint32(dst, nameHash(c.keep[k]))
		dst = binary.LittleEndian.AppendUint64(dst, v.newest)
		dst = binary.LittleEndian.AppendUint64(dst, v.past)
	}
	if t.values != nil {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(t.at))
	}
	return dst
}

// Load restores the state of track i, which take reads: it returns the next n bytes, which
// are zeros when there are no more. A value of a name that is not watched any more is
// forgotten. It returns false if the bytes cannot be such a state.
func (c *Carried) Load(i uint32, take func(n int) []byte) bool {
	t := c.track(i, true)
	for place := range t.held {
		a := pingline.Attrs(take(int(binary.LittleEndian.Uint16(take(2)))))
		if a.Validate() != nil {
			return false
		}
		c.hold(i, place, a)
	}
	n := int(take(1)[0])
	if n > pingline.MostAttrs {
		return false
	}
	for range n {
		name := binary.LittleEndian.Uint32(take(4))
		v := lastSeen{binary.LittleEndian.Uint64(take(8)), binary.LittleEndian.Uint64(take(8))}
		for k := range c.keep {
			if nameHash(c.keep[k]) == name {
				c.grow(t, 0)
				t.values[k] = v
			}
		}
	}
	if n > 0 {
		t.at = int64(binary.LittleEndian.Uint64(take(8)))
	}
	return true
}

func nameHash(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return h.Sum32()
}
