package influx_test

import (
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// A bucket may have any name: its points are read from it and from no other.
func TestPointsOfEachBucket(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, func(t *testing.T, server *influxd.Server) {
		buckets := []string{"pingline", "city", "city/week", "town/autogen", "town/a/b", "odd 'name'.*"}
		if server.Version() == 1 {
			buckets = []string{"pingline", "city", "city/week", "town/autogen", `odd "name"`}
		}
		points := make(map[string][]pingline.Entry)
		for i, bucket := range buckets {
			influxtest.CreateBucket(t, server, bucket, 0)
			points[bucket] = storetest.Fleet(uint64(i), 20)
			writeAll(t, influxtest.Open(t, influxtest.Access(server, bucket)), points[bucket])
		}
		for _, bucket := range buckets {
			b := influxtest.Open(t, influxtest.Access(server, bucket))
			for range 2 { // found out, and remembered
				influxtest.SameLines(t, influxtest.Stored(t, b), influxtest.Lines(points[bucket]...))
			}
		}
	})
}

func writeAll(t testing.TB, bucket *influx.Bucket, points []pingline.Entry) {
	t.Helper()
	for i := range points {
		influxtest.Write(t, bucket, string(influx.AppendLine(nil, &points[i])))
	}
}

// InfluxQL on 2.x takes the buckets "city" and "city/autogen" for the same, and
// goes by a mapping that an operator made. Neither leads us astray.
func TestPointsOfABucketBehindAnother(t *testing.T) {
	server := influxd.RunTest2(t)
	mapped := func(bucket, database, policy string) {
		t.Helper()
		if err := server.MapBucket(t.Context(), bucket, database, policy); err != nil {
			t.Fatal(err)
		}
	}
	points := make(map[string][]pingline.Entry)
	read := make(map[string]*influx.Bucket)
	for i, bucket := range []string{"pingline", "city", "city/autogen"} {
		influxtest.CreateBucket(t, server, bucket, 0)
		read[bucket] = influxtest.Open(t, influxtest.Access(server, bucket))
		points[bucket] = storetest.Fleet(uint64(i), 20)
		writeAll(t, read[bucket], points[bucket])
	}
	err := read["city/autogen"].Points(t.Context(), store.Query{}, nil)
	if err == nil || !strings.Contains(err.Error(), "another bucket has the same") {
		t.Errorf("Points of a hidden bucket = %v", err)
	}
	mapped("city/autogen", "elsewhere", "now")
	mapped("city/autogen", "pingline", "now") // and is the default policy of that name
	for bucket, b := range read {
		influxtest.SameLines(t, influxtest.Stored(t, b), influxtest.Lines(points[bucket]...))
	}

	mapped("pingline", "city", "autogen")
	if err := influxtest.Open(t, influxtest.Access(server, "city")).Points(t.Context(), store.Query{}, nil); err == nil {
		t.Error("Points of a bucket, of which the names were mapped to another, answers")
	}
	byID := influxtest.Access(server, "pingline")
	org, err := read["pingline"].OrgID(t.Context())
	if err != nil || org == "" {
		t.Fatalf("the ID of the organization is %q, %v", org, err)
	}
	byID.Org = org
	influxtest.SameLines(t, influxtest.Stored(t, influxtest.Open(t, byID)), influxtest.Lines(points["pingline"]...))
}
