package slab

import (
	"syscall"
	"unsafe"
)

// hugePage is the size of a huge page on amd64, and on arm64 with pages of 4 KiB.
const hugePage = 2 << 20

// wantHuge asks for huge pages in place of the pages that a large slice lies in. The heap is
// mapped in arenas of 64 MiB, which huge pages divide, so that no page is of others. Where
// there are none it changes nothing.
func wantHuge[T any](s []T) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(s))) // only its address: nothing is read or written there
	end := at + uintptr(len(s))*unsafe.Sizeof(*new(T))
	if end-at < hugePage/2 {
		return
	}
	from, to := at&^(hugePage-1), (end+hugePage-1)&^(hugePage-1)
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_HUGEPAGE) // a system without them says so
}
