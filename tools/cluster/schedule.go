package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// fault is something that breaks at a time, and is whole again after a while.
type fault struct {
	at, lasts time.Duration // at: since the beginning
	kind      faultKind
	whom      int // number of a node, or of a server
	other     int // number of a second server
	to, from  bool
	deliver   bool // afterwards, bytes that a cut held
	step      time.Duration
}

type faultKind int

const (
	killNode faultKind = iota
	suspendNode
	endNode
	rollNodes
	killServer
	suspendServer
	endServer
	killServers
	cutServers
	isolateServer
	cutNode
	cutPeers
	cutInflux
	stepClock
)

var kindNames = [...]string{
	killNode: "kill node", suspendNode: "suspend node", endNode: "end node", rollNodes: "restart all nodes in turn",
	killServer: "kill server", suspendServer: "suspend server", endServer: "end server", killServers: "kill all servers",
	cutServers: "cut server from server", isolateServer: "cut server from servers", cutNode: "cut node from servers",
	cutPeers: "cut node from nodes", cutInflux: "cut node from InfluxDB", stepClock: "step clock of node",
}

// weights say how often a kind is met, of their sum.
var weights = [...]struct {
	kind faultKind
	of   int
}{
	{killNode, 5},
	{suspendNode, 3},
	{endNode, 2},
	{rollNodes, 1},
	{killServer, 3},
	{suspendServer, 2},
	{endServer, 1},
	{killServers, 1},
	{cutServers, 3},
	{isolateServer, 2},
	{cutNode, 3},
	{cutPeers, 3},
	{cutInflux, 2},
	{stepClock, 3},
}

const longest = 24 * time.Hour // of a schedule that has no end

// schedule returns the faults of a run: the same for the same flags. Kinds overlap.
func schedule(o *runFlags) (list []fault) {
	rng := rand.New(rand.NewPCG(o.seed, 1))
	upTo := func(most time.Duration) time.Duration { return time.Second + time.Duration(rng.Int64N(int64(most))) }
	for at := time.Duration(0); ; {
		at += o.every/2 + time.Duration(rng.Int64N(int64(o.every)))
		if o.lasts > 0 && at >= o.lasts || at > longest {
			return list
		}
		f := fault{at: at, kind: pick(rng), whom: rng.IntN(o.nodes), lasts: upTo(o.away), deliver: rng.IntN(3) > 0}
		way := rng.IntN(4) // most cuts are of both directions
		f.to, f.from = way != 1, way != 0
		server, second, step := rng.IntN(servers), 1+rng.IntN(servers-1), clockStep(rng)
		switch f.kind {
		case suspendNode:
			f.lasts += o.lease
		case killServer, suspendServer, endServer, killServers, isolateServer:
			f.whom, f.lasts = server, min(f.lasts, 8*time.Second)
			if f.kind == isolateServer {
				f.lasts += o.lease
			}
		case cutServers:
			f.whom, f.other = server, (server+second)%servers
		case stepClock:
			f.step = step
			if !o.clock {
				continue
			}
		}
		list = append(list, f)
	}
}

const mostStep = 100 * time.Second // of a clock

// clockStep returns up to mostStep, ahead or behind. Beyond two minutes, as they should, a
// node refuses pings, and the roll-up begins anew once the clock is put back.
func clockStep(rng *rand.Rand) time.Duration {
	return time.Duration(rng.Int64N(2*int64(mostStep)+1) - int64(mostStep)).Round(time.Second)
}

func pick(rng *rand.Rand) faultKind {
	sum := 0
	for _, w := range weights {
		sum += w.of
	}
	at := rng.IntN(sum)
	for _, w := range weights {
		if at -= w.of; at < 0 {
			return w.kind
		}
	}
	return killNode
}

// cuts returns the wires that a fault cuts, and says which.
func (f *fault) cuts() (ends []wireEnd, said string) {
	switch f.kind {
	case cutServers:
		ends = append(ends, wireEnd{serverWire(f.whom, f.other), f.to, f.from}, wireEnd{serverWire(f.other, f.whom), f.from, f.to})
		said = fmt.Sprintf("server %d %s server %d", f.whom+1, f.arrow(), f.other+1)
	case isolateServer: // its clients reach it
		for k := range servers {
			if k != f.whom {
				ends = append(ends, wireEnd{serverWire(f.whom, k), f.to, f.from}, wireEnd{serverWire(k, f.whom), f.from, f.to})
			}
		}
		said = fmt.Sprintf("server %d %s the other servers", f.whom+1, f.arrow())
	case cutNode:
		for k := range servers {
			ends = append(ends, wireEnd{natsWire(f.whom, k), f.to, f.from})
		}
		said = fmt.Sprintf("node %s %s the servers", nodeName(f.whom), f.arrow())
	case cutPeers:
		ends = append(ends, wireEnd{peerWire(f.whom), f.to, f.from})
		said = fmt.Sprintf("other nodes %s node %s", f.arrow(), nodeName(f.whom))
	case cutInflux:
		ends = append(ends, wireEnd{influxWire(f.whom), f.to, f.from})
		said = fmt.Sprintf("node %s %s InfluxDB", nodeName(f.whom), f.arrow())
	}
	return ends, said
}

func (f *fault) arrow() string {
	switch {
	case !f.from:
		return "-x->"
	case !f.to:
		return "<-x-"
	}
	return "<-x->"
}

// String tells a fault of a schedule.
func (f *fault) String() string {
	name, lasts := kindNames[f.kind], f.lasts.Round(100*time.Millisecond)
	switch f.kind {
	case rollNodes:
		return name
	case killServers:
		return fmt.Sprintf("%s for %v", name, lasts)
	case killServer, suspendServer, endServer:
		return fmt.Sprintf("%s %d for %v", name, f.whom+1, lasts)
	case killNode, suspendNode, endNode:
		return fmt.Sprintf("%s %s for %v", name, nodeName(f.whom), lasts)
	case stepClock:
		return fmt.Sprintf("%s %s by %v for %v", name, nodeName(f.whom), f.step, lasts)
	}
	_, said := f.cuts()
	if f.deliver {
		return fmt.Sprintf("cut %s for %v, then deliver", said, lasts)
	}
	return fmt.Sprintf("cut %s for %v, then break", said, lasts)
}

// tally says how many faults of each kind are in a schedule.
func tally(list []fault) string {
	var n [len(kindNames)]int
	for i := range list {
		n[list[i].kind]++
	}
	var text []string
	for kind, name := range kindNames {
		if n[kind] > 0 {
			text = append(text, fmt.Sprintf("%d × %s", n[kind], name))
		}
	}
	return strings.Join(text, ", ")
}
