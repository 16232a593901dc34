// Package natsd is a NATS server of a cluster, for tools that run the servers of a log on this
// machine, each in a process of its own: one that can be killed. JetStream syncs each write, and a server
// tells nobody of other addresses than those that it was given.
package natsd

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

// Config says which server of a cluster it is. All fields are required.
type Config struct {
	Name        string   // unique in the cluster
	Port        int      // for clients, at 127.0.0.1
	ClusterPort int      // for the other servers
	Dir         string   // of JetStream; it is made
	Routes      []string // URLs at which it reaches the servers, itself among them
}

// asServer is the variable that makes a program a server.
const asServer = "PINGLINE_TOOLS_NATSD"

// Main runs the server and ends the program, if this process was started by Command. Call it
// before all else.
func Main() {
	if os.Getenv(asServer) != "" {
		os.Exit(serve(os.Args[1:]))
	}
}

// Command returns a command that runs the server: this program once more.
func Command(cfg *Config) *exec.Cmd {
	self, err := os.Executable()
	cmd := exec.Command(self, cfg.Name, strconv.Itoa(cfg.Port), strconv.Itoa(cfg.ClusterPort), cfg.Dir, strings.Join(cfg.Routes, ",")) //nolint:gosec // it is this program
	cmd.Env = append(os.Environ(), asServer+"=1")
	if err != nil {
		cmd.Err = err
	}
	return cmd
}

// Cluster returns n servers of a cluster, with ports that were free a moment ago and directories
// in dir, and the URL of them all.
func Cluster(n int, dir string) (list []Config, address string, err error) {
	var clients, routes []string
	used := make(map[int]bool)
	for i := range n {
		var ports [2]int
		for j := range ports {
			for ports[j] == 0 || used[ports[j]] {
				if ports[j], err = influxd.FreePort(); err != nil {
					return nil, "", err
				}
			}
			used[ports[j]] = true
		}
		name := "n" + strconv.Itoa(i+1)
		list = append(list, Config{Name: name, Port: ports[0], ClusterPort: ports[1], Dir: filepath.Join(dir, "nats-"+name)})
		clients = append(clients, fmt.Sprintf("nats://127.0.0.1:%d", ports[0]))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[1]))
	}
	for i := range list {
		list[i].Routes = routes
	}
	return list, strings.Join(clients, ","), nil
}

func serve(args []string) (status int) {
	if len(args) != 5 {
		return 2
	}
	o := &server.Options{
		ServerName: args[0], Host: "127.0.0.1", NoSigs: true,
		JetStream: true, StoreDir: args[3], SyncAlways: true, MaxPayload: 2 << 20,
		Cluster: server.ClusterOpts{Name: "pingline", Host: "127.0.0.1", NoAdvertise: true},
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
