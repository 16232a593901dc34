package influxd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

var (
	errExited    = errors.New("exited")
	errPortTaken = errors.New("port is taken")
)

// awaitReady returns when the child answers queries and has its database, or
// with the reason why that will not be.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	alive, cancel := context.WithCancel(ctx) // a dead child's port may keep us waiting
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-alive.Done():
		}
	}()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := s.identify(alive, client, p.pid())
		if err == nil {
			return s.createDatabase(ctx, client)
		}
		select {
		case <-p.done:
			return p.exitError()
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w: %w", context.Cause(ctx), err)
		case <-poll.C:
		}
	}
}

// identify checks that it is our child, pid, that answers on the port, and not
// a stranger who was there first.
func (s *Server) identify(ctx context.Context, client *http.Client, pid int) error {
	system, err := s.query(ctx, client, "SHOW DIAGNOSTICS FOR 'system'")
	if err != nil {
		return err
	}
	if got := system.cell("PID"); got != strconv.Itoa(pid) {
		return fmt.Errorf("%s is answered by process %q, not by our %d", s.addr(), got, pid)
	}
	return nil
}

// createDatabase does nothing to a database that is there.
func (s *Server) createDatabase(ctx context.Context, client *http.Client) error {
	name := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.cfg.Database)
	_, err := s.query(ctx, client, `CREATE DATABASE "`+name+`"`)
	return err
}

// answer is the JSON that InfluxDB 1.x gives to a query.
type answer struct {
	Error   string
	Results []struct {
		Error  string
		Series []struct {
			Columns []string
			Values  [][]json.RawMessage
		}
	}
}

// cell is the JSON text in a column of the first row, or "".
func (a *answer) cell(column string) string {
	for _, r := range a.Results {
		for _, s := range r.Series {
			for i, c := range s.Columns {
				if c == column && len(s.Values) > 0 && i < len(s.Values[0]) {
					return string(s.Values[0][i])
				}
			}
		}
	}
	return ""
}

func (a *answer) err() error {
	if a.Error != "" {
		return errors.New(a.Error)
	}
	for _, r := range a.Results {
		if r.Error != "" {
			return errors.New(r.Error)
		}
	}
	return nil
}

func (s *Server) query(ctx context.Context, client *http.Client, q string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body := strings.NewReader(url.Values{"q": {q}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/query", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var a answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&a); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", q, resp.Status, err)
	}
	if err := a.err(); err != nil {
		return nil, fmt.Errorf("%s: %w", q, err)
	}
	return &a, nil
}

// exitError says how the child ended and what it logged last.
func (p *process) exitError() error {
	kind, log := errExited, p.log.String()
	if strings.Contains(log, "address already in use") {
		kind = errPortTaken
	}
	return fmt.Errorf("%w: %v\n%s", kind, p.cmd.ProcessState, log)
}

// freePort returns a port of 127.0.0.1 that nobody listens on. It lies below
// the range from which systems choose the ports of outgoing connections, so
// that none of those (not even one to this very port, while the server is
// down) keeps a restarted server from listening.
func freePort() (int, error) {
	const lowest, count, tries = 10_240, 10_000, 100
	var err error
	for range tries {
		port := lowest + rand.IntN(count)
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, ln.Close()
		}
	}
	return 0, fmt.Errorf("no free port from %d in %d tries: %w", lowest, tries, err)
}
