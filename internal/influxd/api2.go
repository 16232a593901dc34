package influxd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// api2 speaks the HTTP API of 2.x.
type api2 Server

// userName and password are for the web interface, if there is one.
const userName, password = "admin", "pingline-admin"

func (a *api2) command() (args, env []string) {
	env = []string{
		"INFLUXD_REPORTING_DISABLED=true",
		"INFLUXD_CONFIG_PATH=" + a.cfg.Dir, // else the working directory is searched
		"INFLUXD_HTTP_BIND_ADDRESS=" + (*Server)(a).addr(),
		"INFLUXD_BOLT_PATH=" + filepath.Join(a.cfg.Dir, "influxd.bolt"),
		"INFLUXD_SQLITE_PATH=" + filepath.Join(a.cfg.Dir, "influxd.sqlite"),
	}
	return []string{"run", a.engineFlag()}, env
}

// engineFlag is part of the command line, by which identify recognizes our
// child.
func (a *api2) engineFlag() string { return "--engine-path=" + filepath.Join(a.cfg.Dir, "engine") }

func (a *api2) identify(ctx context.Context, _ int) error {
	status, cmdline, err := (*Server)(a).request(ctx, http.MethodGet, "/debug/pprof/cmdline", "", "")
	if err != nil {
		return err
	}
	if status != http.StatusOK || !slices.Contains(strings.Split(string(cmdline), "\x00"), a.engineFlag()) {
		return fmt.Errorf("%s is answered by another process: status %d, %q", (*Server)(a).addr(), status, bytes.TrimSpace(cmdline))
	}
	return nil
}

func (a *api2) setUp(ctx context.Context) error {
	var state struct{ Allowed bool }
	if err := a.call(ctx, http.MethodGet, "/api/v2/setup", nil, &state); err != nil {
		return err
	}
	if !state.Allowed {
		return a.createBucket(ctx, a.cfg.Bucket, a.cfg.Retention)
	}
	return a.call(ctx, http.MethodPost, "/api/v2/setup", map[string]any{
		"username":               userName,
		"password":               password,
		"org":                    a.cfg.Org,
		"bucket":                 a.cfg.Bucket,
		"retentionPeriodSeconds": int64(a.cfg.Retention / time.Second),
		"token":                  a.cfg.Token,
	}, nil)
}

// createBucket does nothing if the bucket exists.
func (a *api2) createBucket(ctx context.Context, name string, keep time.Duration) error {
	if _, err := a.bucketID(ctx, name); err == nil {
		return nil
	}
	org, err := a.orgID(ctx)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, "/api/v2/buckets", map[string]any{
		"orgID":          org,
		"name":           name,
		"retentionRules": keepFor(keep),
	}, nil)
}

// rule tells a 2.x how long to keep points.
type rule struct {
	Type         string `json:"type"`
	EverySeconds int64  `json:"everySeconds"`
}

func keepFor(keep time.Duration) []rule { return []rule{{"expire", int64(keep / time.Second)}} }

func (a *api2) setRetention(ctx context.Context, bucket string, keep time.Duration) error {
	id, err := a.bucketID(ctx, bucket)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPatch, "/api/v2/buckets/"+id, map[string]any{"retentionRules": keepFor(keep)}, nil)
}

func (a *api2) deleteBefore(ctx context.Context, bucket string, before time.Time) error {
	path := "/api/v2/delete?" + url.Values{"org": {a.cfg.Org}, "bucket": {bucket}}.Encode()
	return a.call(ctx, http.MethodPost, path, map[string]any{
		"start": time.UnixMilli(0).UTC(), "stop": before.UTC(),
	}, nil)
}

func (a *api2) createToken(ctx context.Context, bucket string, read, write bool) (string, error) {
	org, err := a.orgID(ctx)
	if err != nil {
		return "", err
	}
	id, err := a.bucketID(ctx, bucket)
	if err != nil {
		return "", err
	}
	// A token must have at least one permission: reading labels does no harm.
	permissions := []map[string]any{{"action": "read", "resource": map[string]string{"type": "labels", "orgID": org}}}
	for action, granted := range map[string]bool{"read": read, "write": write} {
		if granted {
			permissions = append(permissions, map[string]any{
				"action": action, "resource": map[string]string{"type": "buckets", "id": id, "orgID": org},
			})
		}
	}
	var made struct{ Token string }
	err = a.call(ctx, http.MethodPost, "/api/v2/authorizations", map[string]any{"orgID": org, "permissions": permissions}, &made)
	return made.Token, err
}

func (a *api2) points(context.Context, string) ([]string, error) {
	return nil, fmt.Errorf("not on 2.x: %w", errors.ErrUnsupported)
}

func (a *api2) mapBucket(ctx context.Context, bucket, database, policy string) error {
	id, err := a.bucketID(ctx, bucket)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, "/api/v2/dbrps", map[string]any{
		"org": a.cfg.Org, "bucketID": id, "database": database, "retention_policy": policy, "default": true,
	}, nil)
}

func (a *api2) orgID(ctx context.Context) (string, error) {
	var found struct{ Orgs []struct{ ID string } }
	path := "/api/v2/orgs?" + url.Values{"org": {a.cfg.Org}}.Encode()
	if err := a.call(ctx, http.MethodGet, path, nil, &found); err != nil {
		return "", err
	}
	if len(found.Orgs) != 1 {
		return "", fmt.Errorf("%d organizations are named %q", len(found.Orgs), a.cfg.Org)
	}
	return found.Orgs[0].ID, nil
}

func (a *api2) bucketID(ctx context.Context, name string) (string, error) {
	var found struct{ Buckets []struct{ ID string } }
	path := "/api/v2/buckets?" + url.Values{"org": {a.cfg.Org}, "name": {name}}.Encode()
	if err := a.call(ctx, http.MethodGet, path, nil, &found); err != nil {
		return "", err
	}
	if len(found.Buckets) != 1 {
		return "", fmt.Errorf("%d buckets are named %q", len(found.Buckets), name)
	}
	return found.Buckets[0].ID, nil
}

// call sends body as JSON and decodes the answer into found, if it is not nil.
func (a *api2) call(ctx context.Context, method, path string, body, found any) error {
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	status, answered, err := (*Server)(a).request(ctx, method, path, "application/json", string(text))
	if err == nil && status >= 300 {
		err = fmt.Errorf("status %d: %s", status, bytes.TrimSpace(answered))
	}
	if err == nil && found != nil {
		err = json.Unmarshal(answered, found)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
