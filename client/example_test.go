package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"pingline"
	"pingline/client"
)

// A phone adds its fixes as they come. Run sends them, now or when there is a network again.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"accepted":1,"rejected":1,"errors":[{"index":1,"field":"ts","error":"too old"}],"verdicts":["accepted","rejected"]}`)
	}))
	defer server.Close()

	outbox, err := client.Open(client.Config{
		URL: server.URL, // and Dir, so that pings outlive the process
		Report: func(p *pingline.Ping, v pingline.Verdict, reason string) {
			fmt.Printf("%s at %d: %v %s.\n", p.Rider, p.At, v, reason)
		},
		Repeating: func(why error, wait time.Duration) { fmt.Println("again in", wait, "because", why) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now, old := pingline.Ping{Rider: "ana"}, pingline.Ping{Rider: "ana"}
	now.At, old.At = 1_760_000_000_000, 1
	for _, p := range []*pingline.Ping{&now, &old} {
		if err := p.SetPosition(41.1578, -8.6291); err != nil {
			fmt.Println(err)
		}
	}
	if err := outbox.Add(now, old); err != nil { // on disk, if there is a Dir
		fmt.Println(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- outbox.Run(ctx) }()
	if err := outbox.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	stop()
	fmt.Println(<-ended, outbox.Close())
	// Output:
	// ana at 1760000000000: accepted .
	// ana at 1: rejected ts: too old.
	// <nil> <nil>
}
