package node

import (
	"strings"
	"testing"
)

// A --shard names an organization or a bucket with spaces and commas by escapes, and an error says so.
func TestShardWithSpaces(t *testing.T) {
	var s ShardConfig
	if err := s.UnmarshalText([]byte("name=a,url=http://h,org=the%20city,bucket=pings%2C%20raw%2Fold")); err != nil || s.Org != "the city" || s.Bucket != "pings, raw/old" {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"city":                         `"city" is not of the form key=value; a space in a value is written %20, a comma %2C`,
		"name=a,url=http://h,org=50%":  `org: "50%" has a % that is no escape: write %25 for it`,
		"name=a,url=http://h,bucket=%": `bucket: "%" has a %`,
	} {
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
