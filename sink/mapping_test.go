package sink

import (
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
)

// Whatever a bucket is named, its points are read from it and from no other.
func TestPointsOfEachBucket(t *testing.T) {
	eachVersion(t, influxd.Config{}, func(t *testing.T, server *influxd.Server) {
		buckets := []string{"pingline", "city", "city/week", "town/autogen", "town/a/b", "odd 'name'.*"}
		if server.Version() == 1 {
			buckets = []string{"pingline", "city", "city/week", "town/autogen", `odd "name"`}
		}
		points := make(map[string][]pingline.Entry)
		for i, bucket := range buckets {
			createBucket(t, server, bucket, 0)
			points[bucket] = fleet(uint64(i), 20)
			writeAll(t, testInflux(t, access(server, bucket)), points[bucket])
		}
		for _, bucket := range buckets {
			influx := testInflux(t, access(server, bucket))
			for range 2 { // found out, and remembered
				sameLines(t, stored(t, influx), lines(points[bucket]...))
			}
		}
	})
}

func writeAll(t testing.TB, influx *Influx, points []pingline.Entry) {
	t.Helper()
	for i := range points {
		write(t, influx, string(pingline.AppendLine(nil, &points[i])))
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
	read := make(map[string]*Influx)
	for i, bucket := range []string{"pingline", "city", "city/autogen"} {
		createBucket(t, server, bucket, 0)
		read[bucket] = testInflux(t, access(server, bucket))
		points[bucket] = fleet(uint64(i), 20)
		writeAll(t, read[bucket], points[bucket])
	}
	err := read["city/autogen"].Points(t.Context(), Query{}, nil)
	if err == nil || !strings.Contains(err.Error(), "another bucket has the same") {
		t.Errorf("Points of a hidden bucket = %v", err)
	}
	mapped("city/autogen", "elsewhere", "now")
	mapped("city/autogen", "pingline", "now") // and is the default policy of that name
	for bucket, influx := range read {
		sameLines(t, stored(t, influx), lines(points[bucket]...))
	}

	mapped("pingline", "city", "autogen")
	if err := testInflux(t, access(server, "city")).Points(t.Context(), Query{}, nil); err == nil {
		t.Error("Points of a bucket, of which the names were mapped to another, answers")
	}
	byID := access(server, "pingline")
	byID.Org = orgID(t, read["pingline"])
	sameLines(t, stored(t, testInflux(t, byID)), lines(points["pingline"]...))
}

func orgID(t testing.TB, influx *Influx) string {
	t.Helper()
	var found struct{ Orgs []struct{ ID string } }
	if err := influx.getJSON(t.Context(), "/api/v2/orgs", nil, &found); err != nil || len(found.Orgs) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	return found.Orgs[0].ID
}
