package queue

import (
	"context"

	"pingline/queue/driver"
	"pingline/queue/jetstream"
)

// Embedded is the URL of a log in this process.
const Embedded = jetstream.Embedded

// CheckURL returns an error unless a Config may have that URL.
func CheckURL(url string) error {
	_, err := addresses(url)
	return err
}

// addresses returns the addresses in url, fit to be shown.
func addresses(url string) (string, error) { return jetstream.Servers(url) }

// connect connects to the stream that the log is in, and changes nothing there.
func connect(c *Config) (driver.Stream, error) {
	st, err := jetstream.Connect(jetstream.Config{
		URL: c.URL, Dir: c.Dir, Stream: c.Stream, Replicas: c.Replicas, MaxBytes: c.MaxBytes, Unsynced: c.Unsynced, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

// connectReady connects, and makes the stream ready.
func connectReady(ctx context.Context, c *Config) (driver.Stream, error) {
	st, err := connect(c)
	if err != nil {
		return nil, err
	}
	if err := st.Ready(ctx); err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}
