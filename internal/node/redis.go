package node

import (
	"errors"
	"slices"
	"strings"

	"pingline/sink/redis"
	"pingline/sink/store"
)

// redisKind is the kind of store that keeps only the newest position of each rider.
const redisKind = "redis"

// openRedis opens a shard of Redis. Files of InfluxDB's settings are not its own.
func openRedis(s ShardConfig, c *Config) (to store.Store, err error) {
	if s.Bucket != "" {
		return nil, &keyError{key: "bucket", err: errors.New("a Redis has none: name a shard of its own, with another prefix=")}
	}
	cfg := redis.Config{
		URL: s.URL, PasswordFile: s.TokenFile, Timeout: c.Influx.Timeout, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile, Logger: c.Logger,
	}
	for part := range strings.FieldsFuncSeq(s.Settings, func(r rune) bool { return r == ',' }) {
		if key, text, _ := strings.Cut(part, "="); err == nil {
			err = cfg.Set(key, text)
		}
	}
	if err == nil {
		to, err = redis.New(cfg)
	}
	if at := new(redis.KeyFault); errors.As(err, &at) {
		return nil, &keyError{key: at.Key, err: at.Err}
	}
	return to, err
}

// latestOnly reports whether the shards of a set keep only the newest position of each rider.
func (c *Config) latestOnly(set string) bool {
	return slices.ContainsFunc(c.specs(), func(s ShardConfig) bool {
		kind, err := kindOf(s.URL)
		return err == nil && kind.name == redisKind && s.setName() == set
	})
}
