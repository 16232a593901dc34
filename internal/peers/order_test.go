package peers

import (
	"context"
	"errors"
	"testing"
)

// Peers are there until the last request is answered, whether the node is told to stop, or a way in
// fails; and the ways in are stopped if peers cannot be served.
func TestPeersEndBehindRequests(t *testing.T) {
	broken := errors.New("broken")
	for name, fails := range map[string]string{"told to stop": "", "a way in fails": "in", "peers cannot be served": "peers"} {
		ctx, cancel := context.WithCancel(t.Context())
		peers, begun := make(chan context.Context, 1), make(chan struct{})
		server := func(ctx context.Context) error {
			exchange := <-peers
			close(begun)
			<-ctx.Done() // and answers the last request
			if exchange.Err() != nil {
				t.Errorf("%s: peers end before the last request is answered", name)
			}
			return nil
		}
		inlet := func(ctx context.Context) error {
			if <-begun; fails == "in" {
				return broken
			}
			<-ctx.Done()
			return nil
		}
		forwarder := func(ctx context.Context) error {
			peers <- ctx
			if <-begun; fails == "peers" {
				return broken
			}
			<-ctx.Done()
			return nil
		}
		directory := func(ctx context.Context) error { <-ctx.Done(); return nil }
		if fails == "" {
			go func() { <-begun; cancel() }()
		}
		err := inOrder(ctx, []func(context.Context) error{server, inlet}, directory, forwarder)
		if want := map[bool]error{true: nil, false: broken}[fails == ""]; !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		cancel()
	}
}
