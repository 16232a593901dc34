package node

import (
	"strings"
	"testing"
)

// A shard of Cassandra or of Kafka may name several hosts, and an error names the key.
func TestShardsOfCassandra(t *testing.T) {
	for text, words := range map[string]string{
		"name=a,url=cassandra://h/ks":                                                                     "",
		"name=a,url=cassandra://h1,h2:9043,10.0.0.1/ks,weight=2":                                          "",
		"name=a,url=cassandras://u@h1,h2/ks?consistency=ONE&keep=720h,token-file=t,ca-file=c,set=archive": "",
		"url=cassandra://h1,h2/ks?keep=720h,name=a":                                                       "",
		"name=a,url=cassandra://h1,,h2/ks":                                                                `host ""`,
		"name=a,url=cassandra://h1,h2,weight=2":                                                           "url: ",
		"name=a,url=http://h1,h2":                                                                         `"h2" is not of the form key=value`,
		"name=a,url=cassandra://h/ks,bucket=b":                                                            "a shard of cassandra has no bucket, only",
		"name=a,url=kafka://h1,h2/pings,token=t":                                                          `unknown key "token"`,
		"name=a,url=kafka://h1,h2/pings,h3":                                                               `"h3" is not of the form key=value`,
		"name=a,url=kafka://u:b/c,a-secret=d@h/pings":                                                     "not of the form kafka://",
		"name=a,url=kafka://h1,h2:9093/pings?replicas=3,weight=2":                                         "",
		"name=a,url=cassandra://u:a-secret@h/ks":                                                          "token file",
		"name=a,url=cassandra://u@h/ks":                                                                   "token-file: ",
		"name=a,url=cassandra://h/ks?consistency=SOME":                                                    "consistency=SOME is none of",
		"name=a,url=cassandras://h/ks,cert-file=c":                                                        "cert-file: a certificate needs its key",
		"name=a,url=cassandra://h/ks,ca-file=c":                                                           "cassandras://",
	} {
		var s ShardConfig
		err := s.UnmarshalText([]byte(text))
		if err == nil {
			c := DefaultConfig()
			_, err = OpenStore(s, &c)
		}
		if words == "" && err != nil || words != "" && (err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "a-secret")) {
			t.Errorf("%s: %v, want %q", text, err, words)
		}
	}
	c := DefaultConfig()
	if _, err := openCassandra(ShardConfig{URL: "cassandra://h/ks", Bucket: "other"}, &c); err == nil || !strings.Contains(err.Error(), "bucket: ") {
		t.Errorf("a route to a bucket: %v", err)
	}
	if list, err := Schema("cassandra", ""); err != nil || len(list) != 6 {
		t.Errorf("%d statements, %v", len(list), err)
	}
}
