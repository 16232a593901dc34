package influxd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// api has the methods in which InfluxDB 1.8 and 2.x differ.
type api interface {
	// command returns the child's arguments and environment. The environment
	// is ours without InfluxDB's settings, then env, then the caller's.
	command() (args, env []string)
	// identify checks that our child, pid, answers on the port, and not
	// another process that was there first.
	identify(ctx context.Context, pid int) error
	// setUp makes the users, organizations and buckets of the Config that do
	// not exist yet.
	setUp(ctx context.Context) error
	createBucket(ctx context.Context, name string, keep time.Duration) error
	createToken(ctx context.Context, bucket string, read, write bool) (string, error)
	setRetention(ctx context.Context, bucket string, keep time.Duration) error
	deleteBefore(ctx context.Context, bucket string, before time.Time) error
	points(ctx context.Context, bucket string) ([]string, error)
	mapBucket(ctx context.Context, bucket, database, policy string) error
}

func (s *Server) newAPI() (api, error) {
	switch s.cfg.Version {
	case 1:
		return (*api1)(s), nil
	case 2:
		return (*api2)(s), nil
	}
	return nil, fmt.Errorf("influxd: no version %d: it is 1 or 2", s.cfg.Version)
}

// client keeps no connection: its server may be killed at any time.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// request sends body and returns the answer.
func (s *Server) request(ctx context.Context, method, path, contentType, body string) (status int, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Token "+s.cfg.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, text, err
}
