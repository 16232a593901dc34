package node

import (
	"errors"

	"pingline/sink/kafka"
	"pingline/sink/store"
)

// openKafka opens a shard of Kafka. Files of InfluxDB's settings are not its own.
func openKafka(s ShardConfig, c *Config) (store.Store, error) {
	if s.Bucket != "" { // of a route
		return nil, &keyError{key: "bucket", err: errors.New("a Kafka has none: name a shard of its own, with the topic in its url")}
	}
	to, err := kafka.New(kafka.Config{
		URL:          s.URL,
		PasswordFile: s.TokenFile,
		Timeout:      c.Influx.Timeout,
		CreateTopics: c.CreateSchema,
		CAFile:       s.CAFile,
		CertFile:     s.CertFile,
		KeyFile:      s.KeyFile,
		Logger:       c.Logger,
	})
	if at := new(kafka.ConfigFault); errors.As(err, &at) {
		if key, known := map[string]string{"URL": "url", "PasswordFile": "token-file", "CAFile": "ca-file", "CertFile": "cert-file", "KeyFile": "key-file"}[at.Field]; known {
			return nil, &keyError{key: key, err: at.Err}
		}
	}
	return to, err
}
