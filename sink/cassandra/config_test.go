package cassandra

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

func TestURL(t *testing.T) {
	for text, want := range map[string]clusterURL{
		"cassandra://h/ks":                           {hosts: []string{"h:9042"}, keyspace: "ks", consistency: gocql.LocalQuorum},
		"cassandras://me@h:1,10.0.0.2,[::1]:3/ks_2/": {user: "me", secure: true, hosts: []string{"h:1", "10.0.0.2:9042", "[::1]:3"}, keyspace: "ks_2", consistency: gocql.LocalQuorum},
		"Cassandra://a%40b@[::1]/k?consistency=ONE&keep=720h&latest=true&replicas=2&datacenter=eu": {user: "a@b", hosts: []string{"[::1]:9042"}, keyspace: "k",
			consistency: gocql.One, keep: 720 * time.Hour, latest: true, replicas: 2, datacenter: "eu"},
	} {
		got, err := parseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		hosts := slices.Equal(got.hosts, want.hosts)
		a, b := *got, want
		a.hosts, b.hosts = nil, nil
		if !hosts || a.user != b.user || a.keyspace != b.keyspace || a.secure != b.secure || a.consistency != b.consistency ||
			a.datacenter != b.datacenter || a.keep != b.keep || a.latest != b.latest || a.replicas != b.replicas {
			t.Errorf("%s is %+v, want %+v", text, got, want)
		}
	}
}

func TestConfigsThatAreWrong(t *testing.T) {
	for text, words := range map[string]string{
		"":                                        "not of the form",
		"postgres://h/ks":                         "not of the form",
		"cassandra://h":                           "keyspace",
		"cassandra://h/Ks":                        "lower-case",
		"cassandra://h/ks/more":                   "keyspace",
		"cassandra:///ks":                         "host",
		"cassandra://h,/ks":                       "host",
		"cassandra://h:0/ks":                      "host",
		"cassandra://a:b:c/ks":                    "host",
		"cassandra://me:a-secret@h/ks":            "token file",
		"cassandra://me:1/a-secret@h/ks":          "token file",
		"cassandra://me:a-secret?a@h/ks":          "token file",
		"cassandra://@h/ks":                       "user",
		"cassandra://h/ks?speed=1":                "no setting",
		"cassandra://h/ks?consistency=ANY":        "consistency=ANY is none of",
		"cassandra://h/ks?consistency=quorum":     "none of",
		"cassandra://h/ks?keep=1s":                "keep=1s",
		"cassandra://h/ks?keep=200000h":           "keep=200000h",
		"cassandra://h/ks?latest=perhaps":         "latest=perhaps",
		"cassandra://h/ks?replicas=0":             "replicas=0",
		"cassandra://h/ks?datacenter=a'b":         "datacenter",
		"cassandra://h/ks?keep=720h&keep=24h":     "keep is given twice",
		"cassandra://h/ks?keep=%zz":               "key=value",
		"cassandra://u@h/ks?consistency=ALL&x=%2": "key=value",
	} {
		_, err := New(Config{URL: text})
		at := new(KeyspaceFault)
		if !errors.As(err, &at) || at.Field != "URL" || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "a-secret") {
			t.Errorf("%s: %v, want %q of the URL", text, err, words)
		}
	}
	for field, cfg := range map[string]Config{
		"CertFile":     {URL: "cassandras://h/k", CertFile: "c"},
		"KeyFile":      {URL: "cassandras://h/k", KeyFile: "k"},
		"PasswordFile": {URL: "cassandra://me@h/k"},
		"URL":          {URL: "cassandra://h/k", CAFile: "c"},
		"Timeout":      {URL: "cassandra://h/k", Timeout: -1},
		"BatchRows":    {URL: "cassandra://h/k", BatchRows: -1},
	} {
		_, err := New(cfg)
		if at := new(KeyspaceFault); !errors.As(err, &at) || at.Field != field {
			t.Errorf("%+v: %v, want that %s is wrong", cfg, err, field)
		}
	}
	if _, err := New(Config{URL: "cassandra://h/k", PasswordFile: "p"}); err == nil || !strings.Contains(err.Error(), "a user") {
		t.Errorf("a token file of nobody: %v", err)
	}
}
