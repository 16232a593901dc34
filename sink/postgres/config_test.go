package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pingline/sink/postgres"
)

func TestConfig(t *testing.T) {
	const good = "postgres://pingline@db:5432/pings"
	for _, tt := range []struct {
		name  string
		cfg   postgres.Config
		field string
		says  string
	}{
		{"fine", postgres.Config{URL: good}, "", ""},
		{"fine", postgres.Config{URL: "postgresql://p@[::1]/d?keep=72h&sslmode=require&target_session_attrs=read-write"}, "", ""},
		{"a password", postgres.Config{URL: "postgres://pingline:topsecret@db/pings"}, "URL", "token file"},
		{"a password in a URL that cannot be read", postgres.Config{URL: "postgres://pingline:topsecret@db:x/pings"}, "URL", "form"},
		{"a password as a setting", postgres.Config{URL: good + "?password=topsecret"}, "URL", "no setting"},
		{"a setting of a wrong value", postgres.Config{URL: good + "?sslmode=topmost"}, "URL", "sslmode"},
		{"no database", postgres.Config{URL: "postgres://pingline@db/"}, "URL", "form"},
		{"no role", postgres.Config{URL: "postgres://db/pings"}, "URL", "form"},
		{"no host", postgres.Config{URL: "postgres:///pings"}, "URL", "form"},
		{"another scheme", postgres.Config{URL: "http://pingline@db/pings"}, "URL", "form"},
		{"no duration", postgres.Config{URL: good + "?keep=30"}, "URL", "keep=30 "},
		{"less than a day", postgres.Config{URL: good + "?keep=1h"}, "Keep", "1h"},
		{"a certificate", postgres.Config{URL: good, CertFile: "c"}, "CertFile", "key"},
		{"a key", postgres.Config{URL: good, KeyFile: "k"}, "KeyFile", "certificate"},
		{"a negative time", postgres.Config{URL: good, Timeout: -time.Second}, "Timeout", "-1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := postgres.New(tt.cfg)
			if err == nil {
				defer func() { _ = d.Close() }()
			}
			at := new(postgres.SettingFault)
			if tt.field == "" && err == nil {
				return
			}
			if !errors.As(err, &at) || at.Field != tt.field || !strings.Contains(at.Error(), tt.says) {
				t.Errorf("New(%+v) = %v, want field %s and %q", tt.cfg, err, tt.field, tt.says)
			}
			if err != nil && (strings.Contains(err.Error(), "topsecret") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("the error has the password, or two lines: %v", err)
			}
		})
	}
}
