package queue

import (
	"context"

	"pingline/queue/driver"
	"pingline/queue/jetstream"
	"pingline/queue/kafka"
)

// Embedded is the URL of a log in this process.
const Embedded = jetstream.Embedded

// CheckURL returns an error unless a Config may have that URL.
func CheckURL(url string) error {
	_, err := addresses(url)
	return err
}

// addresses returns the addresses in url, fit to be shown.
func addresses(url string) (string, error) {
	if kafka.Is(url) {
		return kafka.Servers(url)
	}
	return jetstream.Servers(url)
}

// OnKafka reports whether a log of that URL is on Kafka.
func OnKafka(url string) bool { return kafka.Is(url) }

// Try asks the brokers of a log on Kafka whether they answer and have its topics, and changes
// nothing. Found is "" for a log that is elsewhere; remedy is "" unless something is wrong.
func Try(ctx context.Context, url string) (found, remedy string) {
	if !kafka.Is(url) {
		return "", ""
	}
	return kafka.Try(ctx, kafka.Config{URL: url, Stream: defaultStream})
}

// connect connects to the stream that the log is in, and changes nothing there.
func connect(c *Config) (driver.Stream, error) {
	if kafka.Is(c.URL) {
		st, err := kafka.Connect(kafka.Config{URL: c.URL, Stream: c.Stream, Replicas: c.Replicas})
		if err != nil {
			return nil, err
		}
		return st, nil
	}
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
