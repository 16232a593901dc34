package node

import (
	"strings"
	"testing"
)

// A shard of ClickHouse takes the keys that it has a use for, and an error names the key.
func TestShardsOfClickHouse(t *testing.T) {
	for text, words := range map[string]string{
		"name=a,url=clickhouse://h/db": "",
		"name=a,url=clickhouses://u@h:1/db?keep=720h,token-file=t,ca-file=c,weight=2": "",
		"name=a,url=clickhouse://h/db,bucket=b":                                       "a shard of clickhouse has no bucket",
		"name=a,url=clickhouse://h/db,org=b":                                          "a shard of clickhouse has no org",
		"name=a,url=clickhouse://h":                                                   "url: ",
		"name=a,url=clickhouse://u:a-secret@h/db":                                     "token file",
		"name=a,url=clickhouses://h/db,cert-file=c":                                   "cert-file: a certificate needs its key",
		"name=a,url=clickhouses://h/db,key-file=c":                                    "key-file: a key needs its certificate",
		"name=a,url=clickhouse://h/db?keep=1s":                                        "keep",
	} {
		var s ShardConfig
		err := s.UnmarshalText([]byte(text))
		if err == nil {
			c := DefaultConfig()
			_, err = openClickHouse(s, &c)
		}
		if words == "" && err != nil || words != "" && (err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "a-secret")) {
			t.Errorf("%s: %v, want %q", text, err, words)
		}
	}
	c := DefaultConfig()
	if _, err := openClickHouse(ShardConfig{URL: "clickhouse://h/db", Bucket: "other"}, &c); err == nil || !strings.Contains(err.Error(), "bucket: ") {
		t.Errorf("a route to a bucket: %v", err)
	}
	if list, err := Schema("clickhouse", "18.16"); err != nil || len(list) != 3 {
		t.Errorf("%d statements, %v", len(list), err)
	}
	if _, err := Schema("influx", ""); err == nil || !strings.Contains(err.Error(), "clickhouse") {
		t.Errorf("of a kind without tables: %v", err)
	}
}
