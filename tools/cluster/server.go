package main

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/internal/influxd"
)

const (
	// asServer is the variable that makes this program a NATS server.
	asServer = "PINGLINE_CLUSTER_SERVER"

	clusterTag = "pingline-cluster"
)

// runServer is a server of a cluster, whose arguments are its name, the ports of clients and
// of the cluster, its directory and the routes to all. It syncs each write, and tells nobody of
// other addresses than those it is reached at.
func runServer(args []string) (status int) {
	if len(args) != 5 {
		return 2
	}
	o := &server.Options{
		ServerName: args[0], Host: "127.0.0.1", NoSigs: true,
		JetStream: true, StoreDir: args[3], SyncAlways: true, MaxPayload: 2 << 20,
		Cluster: server.ClusterOpts{Name: clusterTag, Host: "127.0.0.1", NoAdvertise: true},
	}
	var err error
	if o.Port, err = strconv.Atoi(args[1]); err == nil {
		o.Cluster.Port, err = strconv.Atoi(args[2])
	}
	for route := range strings.SplitSeq(args[4], ",") {
		at, perr := url.Parse(route)
		if perr != nil {
			err = perr
		}
		o.Routes = append(o.Routes, at)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	srv, err := server.NewServer(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	srv.ConfigureLogger()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	srv.Start()
	<-told
	srv.Shutdown()
	srv.WaitForShutdown()
	return 0
}

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
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
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
		args := []string{"n" + name, strconv.Itoa(ports[2*i]), strconv.Itoa(ports[2*i+1]), dir, strings.Join(routes, ",")}
		m := &subprocess{name: name, log: dir + ".log"}
		m.ended = func(status error) { s.mourn(m, status) }
		m.command = func() *exec.Cmd {
			cmd := exec.Command(self, args...)
			cmd.Env = append(os.Environ(), asServer+"=1")
			return cmd
		}
		list = append(list, m)
	}
	return list, clients, nil
}
