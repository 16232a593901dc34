package node

import (
	"cmp"
	"errors"

	"pingline/sink/influx"
	"pingline/sink/store"
)

// storeKind is a kind of store that a --shard may be.
type storeKind struct {
	name string
	open func(ShardConfig, *Config) (store.Store, error)
}

// stores is the list of stores that Pingline writes to. The first is the
// default of a shard.
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

// kindOf returns the kind with that name, the default for "", or nil.
func kindOf(name string) *storeKind {
	for i := range stores {
		if name == "" || stores[i].name == name {
			return &stores[i]
		}
	}
	return nil
}

func openInflux(s ShardConfig, c *Config) (store.Store, error) {
	all := &c.Influx
	headers := make([]influx.ProxyHeader, len(all.Header))
	for i, h := range all.Header {
		headers[i] = influx.ProxyHeader(h)
	}
	to, err := influx.New(influx.Config{
		URL:       cmp.Or(s.URL, all.Host),
		Token:     all.Token,
		TokenFile: cmp.Or(s.TokenFile, all.TokenFile),
		Org:       cmp.Or(s.Org, all.Org),
		Bucket:    cmp.Or(s.Bucket, all.Bucket),
		Timeout:   all.Timeout,
		CAFile:    cmp.Or(s.CAFile, all.CAFile),
		CertFile:  cmp.Or(s.CertFile, all.CertFile),
		KeyFile:   cmp.Or(s.KeyFile, all.KeyFile),
		Headers:   headers,
		Logger:    c.Logger,
	})
	if at := new(influx.ConfigError); errors.As(err, &at) {
		keys := map[string]keyError{
			"URL":    {"url", s.URL == "", at.Err},
			"Bucket": {"bucket", s.Bucket == "", at.Err},
			"Token":  {"token", true, at.Err},

			"CertFile": {"cert-file", s.CertFile == "", at.Err},
			"KeyFile":  {"key-file", s.KeyFile == "", at.Err},
			"Headers":  {"header", true, at.Err},
		}
		if k, known := keys[at.Field]; known {
			return nil, &k
		}
	}
	return to, err
}

// keyError says which key of a --shard is at fault.
type keyError struct {
	key       string
	inherited bool // the shard does not set the key: it comes from --influx-…
	err       error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }

func (e *keyError) Unwrap() error { return e.err }
