// Package kafka keeps a log on Kafka, for package queue: its records, the record of its owner,
// and its files. It is fenced by position, without transactions.
//
// Topics, of a log called NAME:
//
//	name.log     a partition of records, kept until they are trimmed
//	name.state   partition 0: the record of the owner; 1: anchors
//	name.filter  partition 0: pieces of files; 1: the catalog of files
//
// Kafka takes an append from anybody, wherever the log ends by then. So a reader decides which
// records count, by a rule that depends on nothing but the records before. It knows an epoch
// and a number, both 0 at first, and takes the records in the order of their offsets:
//
//   - A record of an epoch that is lower is void.
//   - A record of a higher epoch raises the epoch, even if it is void for its number.
//   - A record is valid if its number is above the number, which it then raises.
//
// All readers agree, as a partition has a single order and nothing is read before most replicas
// have it. Three things follow.
//
// A claim fences. An owner has an epoch above all before it. Once any record of that epoch has an
// offset, no record of a lower epoch behind it is valid, however late it lands. An append of the
// owner before that lands first is valid, and makes a claim void that was given the same number:
// the claimer reads it and claims again, and nobody can be faster the second time.
//
// An acknowledgement is for good. Put returns nil only if the record is valid at its offset: it
// lies right behind all that was judged, or the records between were read and judged, too. No
// record that comes later changes the verdict on an earlier one.
//
// An append of unknown fate can be settled. Numbers of an owner only rise, and the record that
// settles has the number of the append that it settles, or a higher one. If the append lands
// first, it is valid, the settling record is void if it has the same number, and settling is tried
// again behind it. If the settling record lands first, the append has a number that is not above
// it, and is void for ever, whenever it lands. So an append needs no new epoch, and a request may be
// sent again without harm: of two copies the first is valid and the second void. That is why
// appends are not idempotent in Kafka's sense: the rule is stronger, and holds from one session
// of a producer to the next.
//
// The sequences of a session count valid records. Where void records lie between, a span says at
// which offset the sequences go on. An anchor is a judgement so far, written now and then, so that
// opening reads only what lies behind it. It is a function of the log, so that any node may write
// it; it is used if the record it ends with is where it says. Without an anchor the log is read
// from its first record, which is valid: it is trimmed only up to a record that is.
//
// The owner's record is replaced by compare-and-set in the same way: each value has an id and
// the id of the value it replaces, and is valid if that is the last valid one. Values before it
// are deleted, so that the first in the partition is always valid.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/internal/kafkalink"
)

// Config says where a log is. All but Replicas is required.
type Config struct {
	URL      string // kafka://user@host:9092,host:9092, or kafkas://… for TLS, with Options behind ?
	Stream   string // name of the log: topics begin with it, in lower case
	Replicas int    // of new topics; 0 means 3, or as many as there are brokers if they are fewer
}

// Options that a URL may have, besides sasl: files that are read for each connection.
const (
	optionPassword = "password-file" // of the user
	optionCA       = "ca-file"       // PEM, authorities that may sign the brokers' certificates, else the system's
	optionCert     = "cert-file"     // PEM, our client certificate
	optionKey      = "key-file"      // of it
)

// Is reports whether url is of a log on Kafka.
func Is(url string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(url), "://")
	return ok && (scheme == kafkalink.Scheme || scheme == kafkalink.SchemeSecure)
}

// Servers returns the addresses in url, without the user's name.
func Servers(url string) (string, error) {
	b, err := parse(url)
	if err != nil {
		return "", err
	}
	return strings.Join(b.Seeds, ","), nil
}

// parse reads a URL. It names no topic: the log does.
func parse(url string) (*kafkalink.Brokers, error) {
	hosts, query, asks := strings.Cut(url, "?")
	scheme, rest, _ := strings.Cut(hosts, "://")
	if strings.Contains(rest, "/") {
		return nil, fmt.Errorf("of a log on Kafka names no topic: %s://HOST:9092,HOST:9092", strings.ToLower(scheme))
	}
	text := hosts + "/log"
	if asks {
		text += "?" + query
	}
	b, err := kafkalink.Parse(text, optionPassword, optionCA, optionCert, optionKey)
	if err != nil {
		return nil, err
	}
	b.PasswordFile, b.CAFile, b.CertFile, b.KeyFile = b.Options[optionPassword], b.Options[optionCA], b.Options[optionCert], b.Options[optionKey]
	switch {
	case b.User != "" && b.PasswordFile == "":
		return nil, fmt.Errorf("has a user, and no ?%s=/path", optionPassword)
	case b.User == "" && b.PasswordFile != "":
		return nil, fmt.Errorf("has %s, and no user before an @", optionPassword)
	case (b.CertFile == "") != (b.KeyFile == ""):
		return nil, fmt.Errorf("has only one of %s and %s", optionCert, optionKey)
	case !b.TLS && (b.CAFile != "" || b.CertFile != ""):
		return nil, errors.New("has certificates and is without TLS: write kafkas:// for kafka://")
	}
	return b, nil
}

// dial returns a client, once a broker has answered it.
func dial(b *kafkalink.Brokers) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(b.Client(), kgo.RequestTimeoutOverhead(hung), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("connect to the log at %s: %w", strings.Join(b.Seeds, ","), err)
	}
	return cl, nil
}

// hung is how long a connection may be silent before it is closed.
const hung = 5 * time.Second
