package node

import (
	"errors"

	"pingline/sink/postgres"
	"pingline/sink/store"
)

// openPostgres opens a shard of PostgreSQL. Files of InfluxDB's settings are not its own.
func openPostgres(s ShardConfig, c *Config) (store.Store, error) {
	if s.Bucket != "" {
		return nil, &keyError{key: "bucket", err: errors.New("PostgreSQL has none: name a shard of its own, with the database in its url")}
	}
	to, err := postgres.New(postgres.Config{
		URL:          s.URL,
		PasswordFile: s.TokenFile,
		Timeout:      c.Influx.Timeout,
		CheckOnly:    !c.CreateSchema,
		CAFile:       s.CAFile,
		CertFile:     s.CertFile,
		KeyFile:      s.KeyFile,
		Logger:       c.Logger,
	})
	if err == nil {
		return to, nil
	}
	if at := new(postgres.SettingFault); errors.As(err, &at) {
		if key, known := map[string]string{"URL": "url", "Keep": "url", "CertFile": "cert-file", "KeyFile": "key-file"}[at.Field]; known {
			return nil, &keyError{key: key, err: at.Err}
		}
	}
	return nil, err
}
