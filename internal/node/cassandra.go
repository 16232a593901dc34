package node

import (
	"errors"

	"pingline/sink/cassandra"
	"pingline/sink/store"
)

// openCassandra opens a shard of Cassandra. Files of InfluxDB's settings are not its own.
func openCassandra(s ShardConfig, c *Config) (store.Store, error) {
	if s.Bucket != "" {
		return nil, &keyError{key: "bucket", err: errors.New("a Cassandra has none: name a shard of its own, with the keyspace in its url")}
	}
	to, err := cassandra.New(cassandra.Config{
		URL:          s.URL,
		PasswordFile: s.TokenFile,
		Timeout:      c.Influx.Timeout,
		CreateSchema: c.CreateSchema,
		CAFile:       s.CAFile,
		CertFile:     s.CertFile,
		KeyFile:      s.KeyFile,
		Logger:       c.Logger,
	})
	if err == nil {
		return to, nil
	}
	if at := new(cassandra.KeyspaceFault); errors.As(err, &at) {
		if key, known := map[string]string{"URL": "url", "PasswordFile": "token-file", "CertFile": "cert-file", "KeyFile": "key-file"}[at.Field]; known {
			return nil, &keyError{key: key, err: at.Err}
		}
	}
	return nil, err
}
