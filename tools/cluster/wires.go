package main

import (
	"fmt"

	"pingline/tools/cluster/cut"
)

// wires are the connections of the installation that may be cut, by name. A wire that was not laid
// cannot be cut, and costs nothing.
type wires struct {
	on   bool // they are laid
	laid map[string]*cut.Relay
}

// Names of wires, by numbers of servers and nodes, from 0 on.
func serverWire(from, to int) string { return fmt.Sprintf("server %d to server %d", from+1, to+1) }
func natsWire(node, server int) string {
	return fmt.Sprintf("node %s to server %d", nodeName(node), server+1)
}
func peerWire(node int) string   { return fmt.Sprintf("other nodes to node %s", nodeName(node)) }
func influxWire(node int) string { return fmt.Sprintf("node %s to InfluxDB", nodeName(node)) }

func nodeName(i int) string { return string(rune('a' + i)) }

// lay returns the address by which host:port is reached over a wire.
func (w *wires) lay(name, to string) (string, error) {
	if !w.on {
		return to, nil
	}
	r, err := cut.New(to)
	if err != nil {
		return "", err
	}
	if w.laid == nil {
		w.laid = make(map[string]*cut.Relay)
	}
	w.laid[name] = r
	return r.Addr(), nil
}

// cut cuts wires at once, and returns how to mend them.
func (w *wires) cut(ends []wireEnd) (heal func(deliver bool)) {
	var heals []func(bool)
	for _, e := range ends {
		if r := w.laid[e.wire]; r != nil {
			heals = append(heals, r.Cut(e.to, e.from))
		}
	}
	return func(deliver bool) {
		for _, heal := range heals {
			heal(deliver)
		}
	}
}

func (w *wires) close() {
	for _, r := range w.laid {
		r.Close()
	}
}

// wireEnd are the directions of a wire that are cut: from the end that its name has first to the
// other, and back.
type wireEnd struct {
	wire     string
	to, from bool
}
