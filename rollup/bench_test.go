package rollup

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pingline"
	"pingline/partition"
	"pingline/queue"
)

// fleet returns the records of commits of riders who send a ping every five
// seconds each, all of whose speeds are known, or none.
func fleet(b testing.TB, riders, seconds int, speed bool) (list []queue.Record, pings int) {
	rng := rand.New(rand.NewPCG(1, 1))
	lat, lon := make([]int32, riders), make([]int32, riders)
	for i := range lat {
		// Most are in the middle of a town of some 40 km.
		lat[i] = 411_500_000 + int32(600_000*rng.NormFloat64())
		lon[i] = -86_000_000 + int32(800_000*rng.NormFloat64())
	}
	var buf []byte
	for s := range seconds {
		for from := s % 5 * riders / 5; from < (s%5+1)*riders/5; {
			at := start + int64(s)*1000 + 500
			buf = pingline.AppendCommitHeader(buf[:0], &pingline.CommitHeader{Node: "n", At: at})
			n := uint32(0)
			for ; n < 500 && from < (s%5+1)*riders/5; n++ {
				lat[from] += int32(500 * rng.NormFloat64())
				lon[from] += int32(500 * rng.NormFloat64())
				e := pingline.Entry{Ping: pingline.Ping{Rider: fmt.Sprintf("r-%06d", from)}, Verdict: pingline.Redundant, Cell: 0x8539220ffffffff}
				e.At, e.LatE7, e.LonE7 = at-rng.Int64N(1000), lat[from], lon[from]
				if speed {
					e.SetOptional(pingline.HasSpeed, 10*rng.Float64())
				}
				buf = pingline.AppendEntry(buf, &e, at)
				from++
			}
			pingline.SetCommitEntries(buf, n)
			pings += int(n)
			list = append(list, queue.Record{Number: uint64(len(list) + 1), Payload: append([]byte(nil), buf...)})
		}
	}
	return list, pings
}

func benchmarkTake(b *testing.B, riders int, speed, write bool) {
	records, pings := fleet(b, riders, 300, speed)
	log := openLog(b, queue.Config{})
	b.ReportAllocs()
	var r *Rollup
	used := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		var err error
		Forget(log)
		r, err = New(Config{Log: log, Logger: quiet(), Emit: func(context.Context, []pingline.Entry) error { return nil }})
		if err != nil {
			b.Fatal(err)
		}
		if !write {
			r.nextTurn = math.MaxInt64
		}
		b.StartTimer()
		before := cpuTime(b)
		for i := range records {
			if err := r.take(context.Background(), &records[i]); err != nil {
				b.Fatal(err)
			}
		}
		used += cpuTime(b) - before
	}
	stats := r.Stats()
	total := float64(b.N) * float64(pings)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/total, "ns/ping")
	b.ReportMetric(float64(used.Nanoseconds())/total, "cpu-ns/ping")
	b.ReportMetric(float64(stats.Bytes)/float64(stats.Open), "B/total")
	if write {
		points := uint64(0)
		for i := range stats.Stages {
			points += stats.Stages[i].Points
		}
		b.ReportMetric(float64(pings)/float64(points), "pings/point")
	}
	if stats.Pings == 0 || stats.Late > 0 {
		b.Fatalf("%+v", stats)
	}
}

// cpuTime is the CPU time of the process so far: on a busy machine time says little.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTake is a commit's way through the roll-up, decoding and the writing of
// totals included.
func BenchmarkTake(b *testing.B) { benchmarkFleets(b, true) }

// BenchmarkCount is the same without the writing.
func BenchmarkCount(b *testing.B) { benchmarkFleets(b, false) }

func benchmarkFleets(b *testing.B, write bool) {
	for _, riders := range []int{1000, 20_000, 100_000} {
		for _, speed := range []bool{true, false} {
			b.Run(fmt.Sprintf("riders=%d/speed=%v", riders, speed), func(b *testing.B) { benchmarkTake(b, riders, speed, write) })
		}
	}
}

// BenchmarkCells is a look at the live view of a world of 272,000 cells: at all of
// it, which is cut off, at a town of many cells and at one of a few.
func BenchmarkCells(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	v := newView(3, 10_000, 256<<20)
	v.put(start, scattered(rng, 700_000, []int{8, 6, 4}))
	for _, tt := range []struct {
		name string
		box  partition.Box
	}{
		{"world", globe},
		{"town", partition.Box{West: -8.8, South: 40.8, East: -8.4, North: 41.2}},
		{"street", partition.Box{West: -8.61, South: 41.001, East: -8.608, North: 41.002}},
		{"empty", partition.Box{West: 28.9, South: 41, East: 28.901, North: 41.001}},
		{"meridian", partition.Box{West: 17, South: -90, East: 17, North: 90}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			cells := 0
			for b.Loop() {
				cells = len(v.find(&search{box: tt.box, res: 8, from: start, most: 10_001}, 0))
			}
			b.ReportMetric(float64(len(v.lists[0])), "live")
			b.ReportMetric(float64(cells), "cells")
		})
	}
}
