package jetstream

import (
	"strings"
	"testing"
)

// The place of a stream is shown without names and passwords.
func TestServers(t *testing.T) {
	for url, want := range map[string]string{
		Embedded:                             Embedded,
		"nats://host:4222":                   "host:4222",
		"user:s3cret@a:1, tls://token@b:2,c": "a:1,b:2,c",
		"nats://us er:s3cret@host":           "",
		"nats://":                            "",
		"":                                   "",
		"embbed":                             "",
		"0":                                  "",
		"a:4222,b:4222":                      "",
		"http://a:4222":                      "",
		"nats://a:1,,nats://user:s3cret@b:2": "",
		"nats://user:s3cret@[::1]:4222,host.example": "[::1]:4222,host.example",
	} {
		got, err := Servers(url)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Servers(%q) = %q, %v, want %q", url, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Servers(%q) tells a secret: %v", url, err)
		}
	}
}

func TestBatchReads(t *testing.T) {
	for version, want := range map[string]bool{"2.10.29": false, "2.11.0": true, "2.12.1-RC.1": true, "3.0.0": true, "1.99.0": false, "": false} {
		if got := batchReads(version); got != want {
			t.Errorf("batchReads(%q) = %v, want %v", version, got, want)
		}
	}
}
