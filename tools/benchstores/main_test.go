package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	list, left, err := parse(strings.NewReader(`goos: linux
BenchmarkClickHouseLoader
BenchmarkClickHouseLoader/ClickHouse,_5000_rows_a_write/clickhouse-client,_three_at_once
BenchmarkClickHouseLoader/ClickHouse,_5000_rows_a_write/clickhouse-client,_three_at_once-2         	       3	       100.0 loader-rows/s	         1.500 ratio	       150.0 rows/s
BenchmarkKafkaLoader
    bench_test.go:30: needs the jars of kafka
--- SKIP: BenchmarkKafkaLoader
BenchmarkSQSLoader/SQS/loop 	       1	       200 loader-rows/s	         0.5 ratio	       100 rows/s
PASS
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []race{{"ClickHouse, 5000 rows a write", "clickhouse-client, three at once", 150, 100, 1.5}, {"SQS", "loop", 100, 200, 0.5}}
	if !slices.Equal(list, want) {
		t.Errorf("found %+v, want %+v", list, want)
	}
	if want := []string{"BenchmarkKafkaLoader: needs the jars of kafka"}; !slices.Equal(left, want) {
		t.Errorf("left out %q, want %q", left, want)
	}
	if list, _, err := parse(strings.NewReader("BenchmarkALoader/a/b 1 3 rows/s\n")); err == nil {
		t.Errorf("a benchmark without a ratio: %+v", list)
	}
}
