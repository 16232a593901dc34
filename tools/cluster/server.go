package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"pingline/internal/influxd"
	"pingline/internal/natsd"
)

// ports are those that were given away.
type ports map[int]bool

// free returns so many ports that were free a moment ago.
func (p ports) free(n int) (list []int, err error) {
	for len(list) < n {
		port, err := influxd.FreePort()
		if err != nil {
			return nil, err
		}
		if !p[port] {
			p[port] = true
			list = append(list, port)
		}
	}
	return list, nil
}

// newServers returns the servers, none of which runs yet, and the addresses of their clients.
func (s *site) newServers() (list []*subprocess, clients []string, err error) {
	ports, err := s.ports.free(2 * servers)
	if err != nil {
		return nil, nil, err
	}
	for i := range servers {
		clients = append(clients, fmt.Sprintf("127.0.0.1:%d", ports[2*i]))
	}
	for i := range servers {
		var routes []string
		for k := range servers {
			at := fmt.Sprintf("127.0.0.1:%d", ports[2*k+1])
			if k != i {
				if at, err = s.wires.lay(serverWire(i, k), at); err != nil {
					return nil, nil, err
				}
			}
			routes = append(routes, "nats://"+at)
		}
		name := strconv.Itoa(i + 1)
		dir := filepath.Join(s.o.dir, "nats-"+name)
		cfg := natsd.Config{Name: "n" + name, Port: ports[2*i], ClusterPort: ports[2*i+1], Dir: dir, Routes: routes}
		m := &subprocess{name: name, log: dir + ".log", command: func() *exec.Cmd { return natsd.Command(&cfg) }}
		m.ended = func(status error) { s.mourn(m, status) }
		list = append(list, m)
	}
	return list, clients, nil
}
