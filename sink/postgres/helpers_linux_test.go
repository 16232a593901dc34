package postgres_test

import (
	"pingline"
	"pingline/sink/store"
)

// storeRows encodes entries for a store.
func storeRows(s store.Store, list ...pingline.Entry) store.Rows {
	var r store.Rows
	for i := range list {
		r.Bytes = s.AppendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}
