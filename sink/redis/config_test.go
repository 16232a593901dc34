package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline/sink/redis"
	"pingline/sink/store"
)

func TestConfig(t *testing.T) {
	const good = "redis://db:6379/0"
	for _, tt := range []struct {
		name  string
		cfg   redis.Config
		field string
		says  string
	}{
		{"fine", redis.Config{URL: good}, "", ""},
		{"fine", redis.Config{URL: "rediss://ann@[::1]/2", PasswordFile: "p", CAFile: "c", Tags: 16, Expire: time.Hour, Changes: "stream", Prefix: "my.fleet"}, "", ""},
		{"a password", redis.Config{URL: "redis://ann:topsecret@db/0"}, "url", "token file"},
		{"a password in a URL that cannot be read", redis.Config{URL: "redis://ann:topsecret@db:x/0"}, "url", "form"},
		{"a password with a slash", redis.Config{URL: "redis://ann:1/topsecret@db/0"}, "url", "form"},
		{"a password with a question mark", redis.Config{URL: "redis://ann:1?topsecret@db/0"}, "url", "form"},
		{"a user without a password", redis.Config{URL: "redis://ann@db/0"}, "url", "token-file"},
		{"no host", redis.Config{URL: "redis:///0"}, "url", "form"},
		{"another scheme", redis.Config{URL: "http://db/0"}, "url", "form"},
		{"a setting", redis.Config{URL: good + "?password=topsecret"}, "url", "form"},
		{"no database", redis.Config{URL: "redis://db/pings"}, "url", "number"},
		{"certificates without TLS", redis.Config{URL: good, CAFile: "c"}, "url", "rediss"},
		{"a certificate", redis.Config{URL: "rediss://db", CertFile: "c"}, "cert-file", "key"},
		{"a key", redis.Config{URL: "rediss://db", KeyFile: "k"}, "key-file", "certificate"},
		{"a tag in the prefix", redis.Config{URL: good, Prefix: "a{b"}, "prefix", "a{b"},
		{"tags", redis.Config{URL: good, Tags: 2000}, "tags", "2000"},
		{"expiry", redis.Config{URL: good, Expire: time.Millisecond}, "expire", "1ms"},
		{"changes", redis.Config{URL: good, Changes: "all"}, "changes", "none, publish, stream"},
		{"stream", redis.Config{URL: good, Stream: -1}, "stream-length", "-1"},
		{"a negative time", redis.Config{URL: good, Timeout: -time.Second}, "timeout", "-1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := redis.New(tt.cfg)
			if err == nil {
				defer func() { _ = p.Close() }()
			}
			at := new(redis.KeyFault)
			if tt.field == "" && err == nil {
				return
			}
			if !errors.As(err, &at) || at.Key != tt.field || !strings.Contains(at.Error(), tt.says) {
				t.Errorf("New(%+v) = %v, want field %s and %q", tt.cfg, err, tt.field, tt.says)
			}
			if err != nil && (strings.Contains(err.Error(), "topsecret") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("the error has the password, or two lines: %v", err)
			}
		})
	}
}

// Each error of a server has an answer, also in the words of versions before 7.
func TestRefusalByText(t *testing.T) {
	for _, tt := range []struct {
		text   string
		kind   store.Kind
		reason string
	}{
		{"LOADING Redis is loading the dataset in memory", store.Retry, ""},
		{"READONLY You can't write against a read only replica. script: f_1, on @user_script:17.", store.Retry, ""},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", store.Retry, ""},
		{"CLUSTERDOWN Hash slot not served", store.Retry, ""},
		{"TRYAGAIN Multiple keys request during rehashing of slot", store.Retry, ""},
		{"MOVED 1 127.0.0.1:7001", store.Retry, ""},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", store.Retry, ""},
		{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", store.Retry, ""},
		{"NOREPLICAS Not enough good replicas to write.", store.Retry, ""},
		{"ERR max number of clients reached", store.Retry, ""},
		{"NOSCRIPT No matching script. Please use EVAL.", store.Retry, ""},
		{"dial tcp 127.0.0.1:1: connect: connection refused", store.Retry, ""},
		{"", store.Retry, ""},
		{"NOAUTH Authentication required.", store.Configure, store.Credentials},
		{"failed to authenticate: WRONGPASS invalid username-password pair or user is disabled.", store.Configure, store.Credentials},
		{"ERR invalid password", store.Configure, store.Credentials},
		{"ERR Client sent AUTH, but no password is set. AUTH <password> called without any password configured for the default user.", store.Configure, store.Credentials},
		{"NOPERM this user has no permissions to run the 'evalsha' command", store.Configure, store.Rights},
		{"ERR Protocol error: unauthenticated multibulk length", store.Configure, store.Credentials},
		{"ERR The user executing the script can't access at least one of the keys mentioned in the command script: f_1, on @user_script:5.", store.Configure, store.Rights},
		{"DENIED Redis is running in protected mode because protected mode is enabled", store.Configure, store.Rights},
		{"WRONGTYPE Operation against a key holding the wrong kind of value", store.Configure, store.Missing},
		{"ERR Error running script (call to f_1): @user_script:5: WRONGTYPE Operation against a key holding the wrong kind of value ", store.Configure, store.Missing},
		{"ERR Error running script (call to f_1): @user_script:5: @user_script: 5: -OOM command not allowed when used memory > 'maxmemory'. ", store.Configure, store.Limit},
		{"ERR Error running script (call to f_1): @user_script:5: -READONLY You can't write against a read only replica. ", store.Retry, ""},
		{"OOM command not allowed when used memory > 'maxmemory'. script: f_1, on @user_script:2.", store.Configure, store.Limit},
		{"ERR DB index is out of range", store.Configure, store.Missing},
		{"ERR SELECT is not allowed in cluster mode", store.Configure, store.Missing},
		{"ERR unknown command `EVALSHA`, with args beginning with: ", store.Configure, store.Address},
	} {
		r := redis.RefusalOf(fmt.Errorf("%s", tt.text)) //nolint:perfsprint // any error will do
		if r.Kind != tt.kind || r.Reason != tt.reason || (r.Kind == store.Configure) != (r.Advice != "") {
			t.Errorf("%q: %v for %q, advice %q; want %v for %q", tt.text, r.Kind, r.Reason, r.Advice, tt.kind, tt.reason)
		}
	}
	if r := redis.RefusalOf(errors.New("failed to initialize connection: ERR unknown command `AUTH`, with args beginning with: `hunter2`, ")); strings.Contains(r.Error(), "hunter2") {
		t.Errorf("%q has the password", r.Error())
	}
	if r := redis.RefusalOf(errors.New("a\r\n\tb")); r.Error() != "a b" {
		t.Errorf("%q", r.Error())
	}
}
