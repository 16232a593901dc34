// Package operator asks the operations listener of a running server, with the key and the
// certificates of whoever operates it.
//
// An error quotes neither.
package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"pingline/internal/command"
	"pingline/internal/dial"
)

// AdminKey is a flag for the key that a server asks for.
type AdminKey struct {
	KeyFile string `placeholder:"FILE" help:"File with a key of the scope admin, where the server asks for keys."`

	dial.Flags `embed:""`
}

// CheckServer returns an error that names --server unless it is a URL of HTTP.
func CheckServer(server string) error {
	if err := command.CheckTarget(server); err != nil {
		return fmt.Errorf("--server: %q is not a URL such as http://127.0.0.1:9090", server)
	}
	return nil
}

// answerLimit is how long the server may take to begin its answer.
const answerLimit = 30 * time.Second

// Ask sends a request without a body to the operations listener of a server, and returns
// its answer if that has one of the statuses. The caller closes it.
func (k *AdminKey) Ask(ctx context.Context, method, server string, path []string, query url.Values, statuses ...int) (*http.Response, error) {
	return k.Send(ctx, method, server, path, query, nil, statuses...)
}

// Send is Ask with a body; nil is none.
func (k *AdminKey) Send(ctx context.Context, method, server string, path []string, query url.Values, body io.Reader, statuses ...int) (*http.Response, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	at := strings.TrimSuffix(u.String(), "/") + "/" + strings.Join(path, "/")
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return nil, err
	}
	secret := ""
	if k.KeyFile != "" {
		key, err := os.ReadFile(k.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--key-file: %w", err)
		}
		secret = strings.TrimSpace(string(key))
		if strings.ContainsAny(secret, "\r\n") {
			return nil, fmt.Errorf("--key-file: %s has more than one line", k.KeyFile)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	secure, err := k.TLS()
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: answerLimit, DisableKeepAlives: true, TLSClientConfig: secure}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	for _, s := range statuses {
		if resp.StatusCode == s {
			return resp, nil
		}
	}
	defer func() { _ = resp.Body.Close() }() // its end does not matter
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var refusal struct{ Error string }
	if json.Unmarshal(text, &refusal) == nil && refusal.Error != "" {
		text = []byte(refusal.Error)
	}
	said := dial.Hide(string(text), secret) // before it is cut, so that no part is left
	return nil, fmt.Errorf("%s %s: %s: %s", method, at, resp.Status, strings.TrimSpace(said[:min(len(said), 1<<10)]))
}
