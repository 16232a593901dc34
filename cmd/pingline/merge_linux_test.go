package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pingline"
	"pingline/track"
)

// pastRides returns requests with pings of riders who drove some minutes ago, in order of time, of
// which every other rider's phone knows no speed.
func pastRides(rng *rand.Rand, riders, steps int) (bodies []string) {
	type place struct{ lat, lon, course float64 }
	at := make([]place, riders)
	for i := range at {
		at[i] = place{41.1 + rng.Float64()/50, -8.6 + rng.Float64()/50, 6 * rng.Float64()}
	}
	first := time.Now().UnixMilli() - 200_000
	for s := range steps {
		var pings []pingline.Ping
		for i := range at {
			p := pingline.Ping{Rider: fmt.Sprint("rider-", i), Fix: pingline.Fix{At: first + int64(s)*120_000/int64(steps) + rng.Int64N(120_000/int64(steps))}}
			at[i].course += rng.NormFloat64()
			at[i].lat += float64(i%3) * 4e-4 * rng.Float64()
			at[i].lon += float64(i%3) * 4e-4 * (rng.Float64() - .5) * at[i].course
			if err := p.SetPosition(at[i].lat, at[i].lon); err != nil {
				panic(err)
			}
			if i%2 == 0 {
				p.SetOptional(pingline.HasSpeed, float64(i%3)*4*rng.Float64())
			}
			pings = append(pings, p)
		}
		rng.Shuffle(len(pings), func(i, j int) { pings[i], pings[j] = pings[j], pings[i] })
		for batch := range slices.Chunk(pings, 50) {
			body := []byte{'['}
			for i := range batch {
				if i > 0 {
					body = append(body, ',')
				}
				body = track.AppendPing(body, &batch[i])
			}
			bodies = append(bodies, string(append(body, ']')))
		}
	}
	return bodies
}

// storedTotals returns all rows of the roll-up, as text, but for node and parts; of is how many rows say
// that some number of parts is in them.
func storedTotals(t *testing.T, influxURL string) (rows map[string]string, of map[string]int) {
	t.Helper()
	rows, of = map[string]string{}, map[string]int{}
	for _, row := range ask(t, influxURL, "SELECT * FROM cell_activity") {
		key := fmt.Sprint(row["cell"], " ", row["res"], " ", row["window"], " ", row["time"])
		if row["parts"] != nil {
			of[fmt.Sprint(row["parts"])]++
		}
		if _, twice := rows[key]; twice {
			t.Fatalf("two rows of %s", key)
		}
		delete(row, "node")
		delete(row, "parts")
		rows[key] = fmt.Sprint(row)
	}
	return rows, of
}

// merges returns the node that adds up the totals of all parts.
func (n *partNodes) merges() (name string) {
	n.t.Helper()
	eventually(n.t, "a node adds up", func() bool {
		for of, p := range n.running {
			select {
			case <-p.exited:
				continue
			default:
			}
			if !n.takes(of) {
				continue
			}
			if _, err := p.metric("pingline_rollup_merge_points_total"); err == nil {
				name = of
			}
		}
		return name != ""
	})
	return name
}

// Nodes that share riders store the same rows of the roll-up as a single node that is sent the same pings:
// each row of each resolution and window, though nodes are killed in the middle of windows, the
// node that adds up among them, and one that does not know that its part is another's goes on.
func TestMergedRowsAreThoseOfOneNode(t *testing.T) {
	if testing.Short() {
		t.Skip("leases of three nodes take half a minute")
	}
	rounds := 1
	if text := os.Getenv("MERGE_ROUNDS"); text != "" {
		rounds, _ = strconv.Atoi(text)
	}
	alone, together, nats := startInflux(t), startInflux(t), startNATS(t)
	args := []string{"--rollup-lateness=1h", "--max-error=0"} // a ping that is not stored may count again if it is sent again
	dir := t.TempDir()
	single := serve(t, dir, alone.URL(), args...)
	names := []string{"a", "b", "c"}
	n := newPartNodes(t, together.URL(), nats, names...)
	n.args = args
	for _, name := range names {
		n.start(name)
	}
	n.owners(names...)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	bodies := pastRides(rng, 60, 100*rounds)
	pings := strings.Count(strings.Join(bodies, ""), "rider_id")
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		short := &http.Client{Timeout: time.Second}
		post := func(url, body string) bool {
			resp, err := short.Post(url+"/v1/pings", "application/json", strings.NewReader(body))
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}
		for i, body := range bodies {
			if !post(single.url, body) {
				t.Error("the single node does not take a request")
				return
			}
			for tries := i; !post("http://"+n.at[names[tries%len(names)]], body); tries++ {
				time.Sleep(20 * time.Millisecond)
			}
			sent.Add(1)
			time.Sleep(time.Duration(10+i%5) * time.Millisecond)
		}
	}()
	some := func() {
		until := min(sent.Load()+10+rng.Int64N(20), int64(len(bodies)))
		eventually(t, "requests are answered", func() bool { return sent.Load() >= until })
	}
	for round := range rounds {
		some()
		var killed []string
		for _, name := range names { // the node that adds up, and the other that has a part
			if n.takes(name) {
				n.running[name].kill()
				killed = append(killed, name)
			}
		}
		for _, name := range killed {
			n.start(name)
		}
		n.owners(names...)
		some()
		merger := n.merges()
		if rng.IntN(2) == 0 {
			n.running[merger].kill()
			n.start(merger)
			n.owners(names...)
			some()
			merger = n.merges()
		}
		old := n.running[merger]
		old.suspend()
		delete(n.running, merger)
		n.merges()
		some()
		if err := old.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		<-old.exited
		n.start(merger)
		if round < rounds-1 {
			n.owners(names...)
		}
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("requests are not answered")
	}
	if t.Failed() {
		return
	}
	n.rest()
	if status := single.terminate(); status != exitOK {
		t.Errorf("the single node ended with status %d", status)
	}
	single = serve(t, dir, alone.URL(), args...)
	single.settled()
	want, _ := storedTotals(t, alone.URL())
	var got map[string]string
	var of map[string]int
	until := time.Now().Add(patience / 10)
	for time.Now().Before(until) {
		if got, of = storedTotals(t, together.URL()); maps.Equal(got, want) && of["2"] == len(got) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !maps.Equal(got, want) || of["2"] != len(want) {
		for key, row := range want {
			if got[key] != row {
				t.Errorf("%s\n is %s\nwant %s", key, got[key], row)
			}
		}
		t.Errorf("%d rows, want %d; by the number of parts: %v", len(got), len(want), of)
	}
	t.Logf("%d pings, %d rows", pings, len(want))
}

// rest has all nodes stop, the node that waits and the other part's before the node that adds up, and
// starts two of them again: all that they know is written.
func (n *partNodes) rest() {
	n.t.Helper()
	merger := n.merges()
	other := ""
	for name, p := range n.running {
		switch {
		case name == merger:
		case n.takes(name):
			other = name
		default:
			p.terminate()
			delete(n.running, name)
		}
	}
	for _, name := range []string{other, merger} {
		if status := n.running[name].terminate(); status != exitOK {
			n.t.Errorf("%s ended with status %d", name, status)
		}
	}
	for _, name := range []string{other, merger} {
		n.start(name)
	}
}
