package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/partition"
)

// partNodes are nodes of one cluster, which start alike.
type partNodes struct {
	t            *testing.T
	running      map[string]*process
	influx, nats string
	secret       string
	args         []string // of the roll-up
	dirs, at     map[string]string
	ops          map[string]string // URLs for operators
}

func newPartNodes(t *testing.T, influx, nats string, names ...string) *partNodes {
	t.Helper()
	n := &partNodes{t: t, influx: influx, nats: nats, secret: filepath.Join(t.TempDir(), "secret"), running: map[string]*process{}, dirs: map[string]string{}, at: map[string]string{}, ops: map[string]string{}}
	if err := os.WriteFile(n.secret, []byte("a secret of nodes that are tested\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		n.dirs[name], n.at[name], n.ops[name] = t.TempDir(), freePort(t), "http://"+freePort(t)
	}
	return n
}

func (n *partNodes) start(name string) *process {
	n.t.Helper()
	p := begin(n.t, n.dirs[name], n.influx, append(slices.Clone(n.args), "--queue="+n.nats, "--queue-lease=2s", "--parts=2", "--node="+name, "--listen="+n.at[name], "--ops-listen="+strings.TrimPrefix(n.ops[name], "http://"),
		"--peer-listen=127.0.0.1:0", "--peer-secret-file="+n.secret)...)
	n.running[name] = p
	return p
}

// takes reports whether a node takes pings.
func (n *partNodes) takes(name string) bool {
	status, _ := probe(n.t, "http://"+n.at[name]+"/readyz")
	return status == http.StatusOK
}

// owners waits until two of the nodes take pings, and the last waits, and returns that last.
func (n *partNodes) owners(names ...string) (two []string, waits string) {
	n.t.Helper()
	eventually(n.t, "two nodes have a part, and the third waits", func() bool {
		two, waits = nil, ""
		for _, name := range names {
			select {
			case <-n.running[name].exited:
				n.t.Fatalf("%s has ended", name)
			default:
			}
			if n.takes(name) {
				two = append(two, name)
			} else if status, text := probe(n.t, "http://"+n.at[name]+"/readyz"); status == http.StatusServiceUnavailable && strings.Contains(text, "standby: ") {
				waits = name
			}
		}
		return len(two) == 2 && waits != ""
	})
	return two, waits
}

// Three nodes share riders of two parts. Whoever is asked answers for all riders; when a node is
// killed, or stops, the one that waits takes its part. Nothing that was answered is missing, and
// the roll-up counts each ping once.
func TestParts(t *testing.T) {
	if testing.Short() {
		t.Skip("leases of three nodes take half a minute")
	}
	beside(t)
	influx, nats := startInflux(t), startNATS(t)
	names := []string{"a", "b", "c"}
	n := newPartNodes(t, influx.URL(), nats, names...)
	n.args = []string{"--rollup=8", "--rollup-windows=10s"}
	nodes := n.running
	for _, name := range names {
		n.start(name)
	}
	two, spare := n.owners(names...)
	for _, name := range two {
		nodes[name].takesPings()
	}
	url := func(name string) string { return "http://" + n.at[name] }
	gate := newGateway(t, url(two[0]), url(two[1]))
	tr := driveOften(t, gate.url(), 2000)
	tr.more(3000)
	exchanged := 0.0
	for _, name := range two {
		sent, err := nodes[name].metrics("pingline_peer_sent_total{")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range sent {
			exchanged += v
		}
	}
	if exchanged < 1000 {
		t.Errorf("of 3000 pings of both parts %v went to a peer", exchanged)
	}

	killed := two[0]
	nodes[killed].kill()
	gate.leadTo(url(two[1]))
	began := time.Now()
	nodes[spare].takesPings()
	t.Logf("%s has the part of %s %v after that was killed", spare, killed, time.Since(began))
	gate.leadTo(url(two[1]), url(spare))
	tr.more(3000)

	n.start(killed)
	two, _ = n.owners(names...)
	leaving := two[slices.IndexFunc(two, func(name string) bool { return name != spare })]
	gate.leadTo(url(spare))
	if status := nodes[leaving].terminate(); status != exitOK {
		t.Errorf("%s ended with status %d", leaving, status)
	}
	began = time.Now()
	nodes[killed].takesPings()
	t.Logf("%s has the part of %s %v after that stopped", killed, leaving, time.Since(began))
	gate.leadTo(url(spare), url(killed))
	tr.more(3000)
	tr.stop()
	two = []string{spare, killed}
	for _, name := range two {
		nodes[name].settled()
	}
	for _, name := range two { // what they hold goes to the log
		if status := nodes[name].terminate(); status != exitOK {
			t.Errorf("%s ended with status %d", name, status)
		}
	}
	for _, name := range two {
		n.start(name)
	}
	for _, name := range two {
		nodes[name].takesPings()
		nodes[name].settled()
	}
	report := tr.audit(influx.URL())
	dropsSome(t, report)
	var rows []map[string]any
	eventually(t, "the roll-up has counted each ping once", func() bool {
		rows = ask(t, influx.URL(), "SELECT sum(pings) AS n FROM cell_activity")
		return len(rows) == 1 && fmt.Sprint(rows[0]["n"]) == fmt.Sprint(report.Checked)
	})
	n.readsAgree(two)
	n.areasAgree(two)
}

// areasAgree checks that all nodes tell of the riders of both parts in a box and in a stream; and that
// a node whose peer is gone tells of the riders it knew, as a part of all.
func (n *partNodes) areasAgree(names []string) {
	n.t.Helper()
	const box = "bbox=13.3,52.4,13.5,52.6"
	of := func(name string) (riders []string, partial bool) {
		status, text := probe(n.t, "http://"+n.at[name]+"/v1/riders?"+box)
		var page struct {
			Riders []struct {
				Rider string  `json:"rider_id"`
				TS    int64   `json:"ts"`
				Lat   float64 `json:"lat"`
			}
			Partial bool
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK {
			n.t.Fatalf("%s answers %d %s: %v", name, status, text, err)
		}
		for _, r := range page.Riders {
			riders = append(riders, fmt.Sprint(r))
		}
		slices.Sort(riders)
		return riders, page.Partial
	}
	parts := func(riders []string) int {
		seen := map[int]bool{}
		for _, r := range riders {
			seen[partition.Part(strings.Fields(strings.Trim(r, "{}"))[0], 2)] = true
		}
		return len(seen)
	}
	var told []string
	eventually(n.t, "both nodes tell the same of riders of both parts", func() bool {
		one, partial := of(names[0])
		other, less := of(names[1])
		told = one
		return parts(one) == 2 && slices.Equal(one, other) && !partial && !less
	})
	resp, err := http.Get("http://" + n.at[names[0]] + "/v1/stream?riders=1&res=8&" + box)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read only
	events := bufio.NewScanner(resp.Body)
	events.Buffer(nil, 1<<20)
	next := func(what string) {
		n.t.Helper()
		for events.Scan() {
			if strings.Contains(events.Text(), what) {
				return
			}
		}
		n.t.Fatalf("the stream ends before %s: %v", what, events.Err())
	}
	next(`"reader-`)
	n.running[names[1]].kill()
	next(`"partial":true`)
	eventually(n.t, "an answer without a node is partial", func() bool {
		riders, partial := of(names[0])
		if !slices.Equal(riders, told) {
			n.t.Fatalf("without a node %v are told of, before %v", riders, told)
		}
		return partial
	})
	n.start(names[1])
	n.running[names[1]].takesPings()
	next(`data: {`) // of the node that has the part again
	eventually(n.t, "the riders are told of by both nodes again", func() bool {
		one, partial := of(names[0])
		other, less := of(names[1])
		return slices.Equal(one, told) && slices.Equal(other, told) && !partial && !less
	})
}

// A request of 1,000 riders gets each verdict from whichever node has the rider. With a node away it
// is refused, or answered in part for a client that prefers so.
func TestPartsPartial(t *testing.T) {
	if testing.Short() {
		t.Skip("two nodes with InfluxDB and NATS servers take seconds to start")
	}
	influx, nats := startInflux(t), startNATS(t)
	n := newPartNodes(t, influx.URL(), nats, "a", "b")
	for _, name := range []string{"a", "b"} {
		n.start(name).takesPings()
	}
	at := time.Now().Add(-time.Minute).UnixMilli()
	part := n.partOf("a")
	type answer struct {
		Verdicts []string `json:"verdicts"`
		Retry    []int    `json:"retry"`
		Error    string   `json:"error"`
	}
	send := func(riders []int, prefer string) (status int, got answer) {
		t.Helper()
		var body strings.Builder
		for _, i := range riders {
			fmt.Fprintf(&body, `{"rider_id":"rider-%d","lat":52.5,"lon":13.4,"ts":%d}`+"\n", i, at)
		}
		req, err := http.NewRequest(http.MethodPost, "http://"+n.at["a"]+"/v1/pings?verdicts=1", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Prefer", prefer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, got
	}
	var all, ofB []int
	for i := range 1000 {
		if all = append(all, i); partition.Part(fmt.Sprint("rider-", i), 2) != part {
			ofB = append(ofB, i)
		}
	}
	var status int
	var got answer
	eventually(t, "a knows b", func() bool {
		at += 1000
		status, got = send(all, "")
		return status == 200
	})
	if n := len(slices.DeleteFunc(got.Verdicts, func(v string) bool { return v == "accepted" || v == "held" })); status != 200 || n > 0 {
		t.Errorf("both nodes are there: %d, %d pings are neither accepted nor held: %s", status, n, got.Error)
	}

	n.running["b"].kill()
	at += 10_000
	if status, got := send(all, ""); status != 503 || got.Error == "" {
		t.Errorf("a node is away: %d %q", status, got.Error)
	}
	if status, got := send(ofB, "partial"); status != 503 || got.Retry != nil {
		t.Errorf("the node of all riders is away: %d %q", status, got.Error)
	}
	at += 10_000
	status, got = send(all, "partial")
	if status != http.StatusMultiStatus || !slices.Equal(got.Retry, ofB) || len(got.Verdicts) != 1000 {
		t.Fatalf("a node is away: %d %q, %d verdicts, to be sent again %v", status, got.Error, len(got.Verdicts), got.Retry)
	}
	for i, v := range got.Verdicts {
		if (v == "unavailable") != slices.Contains(ofB, i) {
			t.Fatalf("rider %d: %s", i, v)
		}
	}
	n.start("b").takesPings()
	eventually(t, "riders of the node that was away are taken", func() bool {
		status, got = send(ofB, "partial")
		return status == 200
	})
	if len(got.Verdicts) != len(ofB) || slices.Contains(got.Verdicts, "duplicate") {
		t.Errorf("riders of the node that was away: %v", got.Verdicts)
	}
	for _, name := range []string{"a", "b"} {
		n.running[name].settled()
	}
	if n, err := n.running["a"].metric("pingline_peer_unavailable_total"); err != nil || n != float64(len(ofB)) {
		t.Errorf("counted %v, %v, want %d", n, err, len(ofB))
	}
}

// A node that is drained gives its part to the node that waits, ends, and takes no part when it is started again, until it
// is allowed to. Whichever node is asked knows who has the parts.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("leases of three nodes take seconds")
	}
	influx, nats := startInflux(t), startNATS(t)
	names := []string{"a", "b", "c"}
	n := newPartNodes(t, influx.URL(), nats, names...)
	for _, name := range names {
		n.start(name)
	}
	two, spare := n.owners(names...)
	gone, stays := two[0], two[1]
	cluster := func(name string, want int, args ...string) (said string) {
		t.Helper()
		status, stdout, stderr := runs(t, append(append([]string{"cluster"}, args...), "--server="+n.ops[name])...)
		if status != want {
			t.Fatalf("cluster %v at %s: status %d, want %d: %s%s", args, name, status, want, stdout, stderr)
		}
		return stdout + stderr
	}
	has := func(said string, list ...string) {
		t.Helper()
		for _, want := range list {
			if !strings.Contains(said, want) {
				t.Errorf("%q is not in %s", want, said)
			}
		}
	}
	has(cluster(spare, exitOK, "status"), "  "+gone+"  ", "  "+stays+"  ", "node "+spare+" (development) takes no pings: standby: parts 0 to 1 belong to ")
	for _, name := range names {
		n.knows(name, gone, stays)
	}
	has(cluster(gone, exitOK, "status"), "node "+gone+" (development) has part ", ": level 0, ")
	for _, name := range two { // both know how each does
		eventually(t, name+" tells how the other does", func() bool {
			return len(regexp.MustCompile(`(?m)^\d +[abc] .* development +0 +0 +0\.0 s +\S+ \w+ of 4\.0 GiB$`).FindAllString(cluster(name, exitOK, "status"), -1)) == 2
		})
	}
	for path, want := range map[string]string{"/healthz": "ok", "/metrics": "process_start_time_seconds", "/v1/parts": `"node":"` + gone + `"`, "/v1/riders/r": "404"} {
		if _, text := probe(t, n.ops[spare]+path); !strings.Contains(text, want) {
			t.Errorf("%s of the node that waits: %s", path, text)
		}
	}
	has(cluster(gone, exitUsage, "drain"), "--yes is needed")
	has(cluster(gone, exitOK, "drain", "--yes"), "node "+gone+" gives part ", " away, and ends; started again, it takes none until pingline cluster resume")
	if <-n.running[gone].exited; n.running[gone].err != nil {
		t.Errorf("a node that is drained ended with %v", n.running[gone].err)
	}
	n.running[spare].takesPings()
	n.start(gone)
	n.knows(gone, stays, spare)
	has(cluster(gone, exitOK, "status"), "takes no pings: drained: takes no part until pingline cluster resume")
	n.running[stays].kill()
	n.knows(gone, spare, "")
	has(cluster(gone, exitFailed, "status"), "no node has part ", ": riders of it get 503")
	has(cluster(gone, exitOK, "resume"), "node "+gone+" takes a part that is free, or waits for one")
	n.running[gone].takesPings()
	has(cluster(gone, exitOK, "resume"), "node "+gone+" has part ")
	single := serve(t, t.TempDir(), influx.URL())
	n.ops["single"] = strings.TrimSuffix(single.ops, "/metrics")
	has(cluster("single", exitFailed, "status"), "shares its riders with no other node")
	n.ops["single"] = single.url
	has(cluster("single", exitFailed, "drain", "--yes"), "is no operations listener")
}

// knows waits until a node knows that two nodes have the parts.
func (n *partNodes) knows(name string, owners ...string) {
	n.t.Helper()
	slices.Sort(owners)
	eventually(n.t, fmt.Sprintf("%s knows that %q have the parts", name, owners), func() bool {
		var said struct {
			Parts []struct {
				Node string `json:"node"`
			} `json:"parts"`
		}
		status, text := probe(n.t, n.ops[name]+"/v1/cluster")
		if status != http.StatusOK || json.Unmarshal([]byte(text), &said) != nil {
			return false
		}
		var list []string
		for _, part := range said.Parts {
			list = append(list, part.Node)
		}
		slices.Sort(list)
		return slices.Equal(list, owners)
	})
}

// partOf returns the part of a node.
func (n *partNodes) partOf(name string) int {
	n.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(n.dirs[name], "part-*"))
	if err != nil || len(dirs) != 1 {
		n.t.Fatal(dirs, err)
	}
	return int(dirs[0][len(dirs[0])-1] - '0')
}

// readsAgree checks that all nodes tell the same of a rider of each part.
func (n *partNodes) readsAgree(names []string) {
	n.t.Helper()
	seen := map[int]bool{}
	for i := 0; len(seen) < 2; i++ {
		rider := fmt.Sprintf("reader-%d", i)
		part := partition.Part(rider, 2)
		if seen[part] {
			continue
		}
		seen[part] = true
		body := fmt.Sprintf(`{"rider_id":%q,"lat":52.5,"lon":13.4,"ts":%d}`, rider, time.Now().UnixMilli())
		resp, err := http.Post("http://"+n.at[names[0]]+"/v1/pings", "application/json", strings.NewReader(body))
		if err != nil {
			n.t.Fatal(err)
		}
		_ = resp.Body.Close()
		var answers []string
		for _, name := range names {
			status, text := probe(n.t, "http://"+n.at[name]+"/v1/riders/"+rider)
			if status != http.StatusOK {
				n.t.Errorf("%s answers for %s of part %d: %d %s", name, rider, part, status, text)
			}
			answers = append(answers, text)
		}
		if answers[0] != answers[1] {
			n.t.Errorf("of %s one node tells %s, another %s", rider, answers[0], answers[1])
		}
	}
}

// Flags of nodes that share riders are checked before anything is opened.
func TestPartsFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--parts=3"}, "--parts: 3 is not a power of two in [1, 64]"},
		{[]string{"--parts=2"}, "--parts: is for logs that nodes share: give --queue=nats://host,host"},
		{[]string{"--parts=2", "--queue=nats://n"}, "--peer-listen: is needed with --parts"},
		{[]string{"--parts=2", "--queue=nats://n", "--peer-listen=:0"}, "--peer-secret-file: is needed with --parts"},
		{[]string{"--peer-listen=:0"}, "--parts: the settings of --peer-… are for several parts"},
		{[]string{"--parts=2", "--queue=nats://n", "--peer-listen=:0", "--peer-cert-file=x"}, "--peer-cert-file: goes with --peer-key-file and --peer-ca-file"},
		{[]string{"--parts=2", "--queue=nats://n", "--peer-listen=:0", "--peer-secret-file=x", "--peer-address=here"}, `--peer-address: "here" is not HOST:PORT`},
		{[]string{"--parts=2", "--queue=nats://127.0.0.1:1", "--peer-listen=127.0.0.1:0", "--peer-secret-file=none"}, "--peer-secret-file: open none"},
	} {
		if status, text := exits(t, append([]string{"serve", "--data-dir=" + t.TempDir()}, c.args...)...); status != exitUsage || !strings.Contains(text, c.want) {
			t.Errorf("%v: status %d, %s", c.args, status, text)
		}
	}
}
