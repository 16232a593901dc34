package network

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// Proxy is a bad network on its way to one server. Safe for concurrent use.
type Proxy struct {
	proxy *toxiproxy.Proxy
	dial  net.Dialer
}

// registered makes the kind of loss known to toxiproxy, once.
var registered = sync.OnceFunc(func() {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy is the only one to use it
	toxics.Register(lossKind, new(lossToxic))
})

// Open starts a network to the server of a URL, whose proxy listens on a free port of
// this machine.
func Open(s Config, target string) (*Proxy, error) {
	registered()
	server, err := addressOf(target)
	if err != nil {
		return nil, fmt.Errorf("network to %s: %w", target, err)
	}
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &Proxy{proxy: toxiproxy.NewProxy(api, "network", "127.0.0.1:0", server)}
	for _, t := range s.toxics() {
		text, err := json.Marshal(t)
		if err == nil {
			_, err = n.proxy.Toxics.AddToxicJson(bytes.NewReader(text))
		}
		if err != nil {
			return nil, fmt.Errorf("network to %s: %w", target, err)
		}
	}
	if err := n.proxy.Start(); err != nil {
		return nil, fmt.Errorf("network to %s: %w", target, err)
	}
	return n, nil
}

// addressOf returns the host and port of a URL.
func addressOf(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		if port = "80"; u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// toxic is a fault in the form of toxiproxy.
type toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Attributes map[string]any `json:"attributes"`
}

func (s *Config) toxics() (all []toxic) {
	// What is lost stands in the way of what is behind it, and is delayed once.
	latency, jitter := s.Latency.Milliseconds(), s.Jitter.Milliseconds()
	for i, stream := range [...]string{"upstream", "downstream"} {
		add := func(kind string, attributes map[string]any) {
			all = append(all, toxic{kind, stream, attributes})
		}
		if s.Bandwidth > 0 {
			add("bandwidth", map[string]any{"rate": int64(s.Bandwidth / 1000)})
		}
		if s.Loss > 0 {
			add(lossKind, map[string]any{"loss": s.Loss})
		}
		if half := int64(i); latency > 0 { // an odd ms is on the way back
			add("latency", map[string]any{"latency": (latency + half) / 2, "jitter": (jitter + half) / 2})
		}
	}
	return all
}

// Transport returns a way to the server through the network, with up to conns
// connections that are kept open. Names and certificates are checked as without it, by secure
// if it is set.
func (n *Proxy) Transport(conns int, secure *tls.Config) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.dial.DialContext(ctx, network, n.proxy.Listen)
		},
		TLSClientConfig:     secure,
		MaxIdleConnsPerHost: conns,
		DisableCompression:  true,
	}
}

// Close cuts all connections.
func (n *Proxy) Close() error {
	n.proxy.Stop()
	return nil
}
