package pingline

// NanosPerMilli is the number of ns in a ms.
const NanosPerMilli = 1_000_000

// FloorMilli returns the ms in which an instant, ns since 1970, lies.
func FloorMilli(ns int64) int64 {
	ms := ns / NanosPerMilli
	if ns%NanosPerMilli < 0 {
		ms--
	}
	return ms
}

// Nano returns the ns within its ms at which e is stored: 0, or, if e is apart, the
// 64-bit FNV-1a of latitude and longitude (1e-7 degree, little endian) and event,
// brought into [1, 999999]. The function must not change: by it a ping that is sent
// again is the same point.
func (e *Entry) Nano() int64 {
	if !e.Apart {
		return 0
	}
	h := uint64(0xcbf29ce484222325)
	add := func(b byte) { h = (h ^ uint64(b)) * 0x100000001b3 }
	for _, v := range [...]int32{e.LatE7, e.LonE7} {
		for shift := 0; shift < 32; shift += 8 {
			add(byte(v >> shift))
		}
	}
	for i := range len(e.Event) {
		add(e.Event[i])
	}
	return int64(h%(NanosPerMilli-1)) + 1
}
