package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pingline/internal/awsqueue"
	"pingline/internal/kafkalink"
	"pingline/sink/cassandra"
	"pingline/sink/clickhouse"
	"pingline/sink/influx"
	"pingline/sink/influx/unread"
	"pingline/sink/redis"
	"pingline/sink/sqs"
	"pingline/sink/store"
)

// storeKind is a kind of store that a --shard may be.
type storeKind struct {
	name    string
	schemes []string // of its URLs
	keys    []string // of a --shard, besides those that any has
	open    func(ShardConfig, *Config) (store.Store, error)
	hosts   bool // its URLs may name several hosts, with commas between them
}

// stores is the list of stores that Pingline writes to. The first is the
// default of a shard.
var stores = []storeKind{
	{"influx", []string{"http", "https"}, []string{"org", "bucket", "token-file", "ca-file", "cert-file", "key-file"}, openInflux, false},
	{"clickhouse", []string{clickhouse.Scheme, clickhouse.SchemeSecure}, []string{"token-file", "ca-file", "cert-file", "key-file"}, openClickHouse, false},
	{"postgres", []string{"postgres", "postgresql"}, []string{"token-file", "ca-file", "cert-file", "key-file"}, openPostgres, false},
	{"cassandra", []string{cassandra.Scheme, cassandra.SchemeSecure}, []string{"token-file", "ca-file", "cert-file", "key-file"}, openCassandra, true},
	{unread.VictoriaMetrics, unread.Schemes(unread.VictoriaMetrics), []string{"token-file", "ca-file", "cert-file", "key-file"}, openUnread, false},
	{unread.QuestDB, unread.Schemes(unread.QuestDB), []string{"token-file", "ca-file", "cert-file", "key-file"}, openUnread, false},
	{"kafka", []string{kafkalink.Scheme, kafkalink.SchemeSecure}, []string{"token-file", "ca-file", "cert-file", "key-file"}, openKafka, true},
	{"sqs", awsqueue.Schemes, nil, openSQS, false},
	{redisKind, []string{"redis", "rediss"}, append([]string{"token-file", "ca-file", "cert-file", "key-file"}, redis.Keys...), openRedis, false},
}

// Stores returns the names of the kinds of store, the default first.
func Stores() (names []string) {
	for _, k := range stores {
		names = append(names, k.name)
	}
	return names
}

// kindOf returns the kind of store at a URL. A text without a scheme is left to the
// default, which says why it is no URL.
func kindOf(url string) (*storeKind, error) {
	scheme, _, ok := strings.Cut(url, "://")
	if !ok {
		return &stores[0], nil
	}
	var known []string
	for i := range stores {
		if slices.Contains(stores[i].schemes, strings.ToLower(scheme)) {
			return &stores[i], nil
		}
		for _, s := range stores[i].schemes {
			known = append(known, s+"://")
		}
	}
	return nil, fmt.Errorf("url: there is no store for %s://, only for %s", scheme, strings.Join(known, ", "))
}

// OpenStore opens the store of a shard, apart from any node. It connects to nothing.
func OpenStore(s ShardConfig, c *Config) (store.Store, error) {
	kind, err := kindOf(s.URL)
	if err != nil {
		return nil, err
	}
	return kind.open(s, c)
}

// IsInflux reports whether a shard is an InfluxDB.
func (s ShardConfig) IsInflux() bool {
	kind, err := kindOf(s.URL)
	return err == nil && kind == &stores[0]
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

// lineStore opens the store that lines without a position are passed on to, and returns its name;
// nil: they are not. It connects to nothing.
func (c *Config) lineStore() (to store.Store, name string, err error) {
	if !c.Lines.Pass {
		if c.LinesTo != "" {
			err = wrong("line-to", "takes --line-other=pass")
		}
		return nil, "", err
	}
	name, bucket, _ := strings.Cut(c.LinesTo, "/")
	at := slices.IndexFunc(c.specs(), func(s ShardConfig) bool { return s.IsInflux() && (name == "" || s.Name == name) })
	if at < 0 {
		return nil, "", wrong("line-other", "pass takes a shard that is an InfluxDB, and there is none for --line-to=%s", c.LinesTo)
	}
	spec := c.specs()[at]
	spec.Bucket = cmp.Or(bucket, spec.Bucket)
	if to, err = OpenStore(spec, c); err != nil {
		return nil, "", blame(err, "--line-to")
	}
	return to, strings.TrimSuffix(spec.Name+"/"+bucket, "/"), nil
}

// openSQS opens a shard that is a queue.
func openSQS(s ShardConfig, _ *Config) (store.Store, error) {
	if s.Bucket != "" { // of a route
		return nil, &keyError{key: "bucket", err: errors.New("a queue has none: name a shard of its own, with the other queue in its url")}
	}
	to, err := sqs.New(sqs.Config{URL: s.URL})
	if err != nil {
		return nil, &keyError{key: "url", err: err}
	}
	return to, nil
}

// openUnread opens a server that takes InfluxDB's writes.
func openUnread(s ShardConfig, c *Config) (store.Store, error) {
	of := s.URL
	plain, options, err := unread.Address(of)
	if err != nil {
		return nil, &keyError{key: "url", err: err}
	}
	s.URL = plain
	to, err := openInflux(s, c)
	if err != nil {
		return nil, err
	}
	return unread.New(to.(*influx.Bucket), of, options, c.CreateSchema), nil
}

// keyError says which key of a --shard is at fault.
type keyError struct {
	key       string
	inherited bool // the shard does not set the key: it comes from --influx-…
	err       error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }

func (e *keyError) Unwrap() error { return e.err }
