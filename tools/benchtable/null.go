package main

import (
	"io"
	"net"
	"net/http"
	"time"
)

// nullStore is an InfluxDB that accepts every write and keeps nothing.
type nullStore struct {
	server http.Server
	ln     net.Listener
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func openNull() (*nullStore, error) {
	ln, err := listen()
	if err != nil {
		return nil, err
	}
	n := &nullStore{ln: ln, server: http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Influxdb-Version", "1.8.10")
		_, _ = io.Copy(io.Discard, r.Body) // a write that breaks off is sent again
		w.WriteHeader(http.StatusNoContent)
	})}}
	go func() { _ = n.server.Serve(ln) }()
	return n, nil
}

func (n *nullStore) url() string { return "http://" + n.ln.Addr().String() }

func (n *nullStore) close() { _ = n.server.Close() }
