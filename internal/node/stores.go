package node

import (
	"cmp"

	"pingline/sink/influx"
	"pingline/sink/store"
)

// storeKind is a kind of store that a --shard may be.
type storeKind struct {
	name string
	open func(Shard, *Influx) (store.Store, error)
}

// stores is the list of stores that Pingline writes to. The first is that of a
// shard that names none.
var stores = []storeKind{
	{"influx", openInflux},
}

// Stores returns the names of the kinds of store, the default first.
func Stores() (names []string) {
	for _, k := range stores {
		names = append(names, k.name)
	}
	return names
}

// kindOf returns the kind of a name, the default of "", or nil.
func kindOf(name string) *storeKind {
	for i := range stores {
		if name == "" || stores[i].name == name {
			return &stores[i]
		}
	}
	return nil
}

func openInflux(s Shard, all *Influx) (store.Store, error) {
	return influx.New(influx.Config{
		URL:       s.URL,
		Token:     all.Token,
		TokenFile: cmp.Or(s.TokenFile, all.TokenFile),
		Org:       cmp.Or(s.Org, all.Org),
		Bucket:    cmp.Or(s.Bucket, all.Bucket),
		Timeout:   all.Timeout,
	})
}
