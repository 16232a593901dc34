package kafka

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"pingline/internal/kafkalink"
	"pingline/sink/store"
)

// brokerSays is the remedy for an error of a broker.
type brokerSays struct {
	kind   store.Kind
	reason string
	advice string // of Configure
}

// meanings of errors, by the names that https://kafka.apache.org/protocol#protocol_error_codes
// has. All others are trouble of the cluster, which passes.
var meanings = map[*kerr.Error]brokerSays{
	kerr.SaslAuthenticationFailed: {store.Configure, store.Credentials, adviceLogin},
	kerr.UnsupportedSaslMechanism: {store.Configure, store.Credentials, "name a mechanism that the brokers take in the url, such as ?sasl=scram-sha-512"},
	kerr.IllegalSaslState:         {store.Configure, store.Credentials, "the brokers ask for no user at that port: leave it out of the url, or name the port that does"},

	kerr.TopicAuthorizationFailed:   {store.Configure, store.Rights, adviceRights},
	kerr.ClusterAuthorizationFailed: {store.Configure, store.Rights, adviceRights},

	kerr.UnknownTopicOrPartition: {store.Configure, store.Missing, adviceTopic},
	kerr.UnknownTopicID:          {store.Configure, store.Missing, adviceTopic},
	kerr.InvalidTopicException:   {store.Configure, store.Missing, "name another topic in the url"},

	kerr.PolicyViolation:          {store.Configure, store.Rights, "make the topic as the cluster's policy wants it"},
	kerr.InvalidReplicationFactor: {store.Configure, store.Limit, "make the topic, or name a number of replicas in the url that the cluster has brokers for, such as ?replicas=3"},
	kerr.InvalidPartitions:        {store.Configure, store.Limit, "make the topic, or name another number of partitions in the url, such as ?partitions=12"},
	// A message has the time of its sending, of which no row is the cause.
	kerr.InvalidTimestamp:            {store.Configure, store.Limit, "set the clocks of this machine and of the brokers, or raise message.timestamp.after.max.ms and message.timestamp.before.max.ms of the topic"},
	kerr.UnsupportedForMessageFormat: {store.Configure, store.Address, "the topic has messages of an old format: name a new topic"},

	kerr.MessageTooLarge:    {store.BadRows, store.TooLarge, ""},
	kerr.RecordListTooLarge: {store.BadRows, store.TooLarge, ""},
	kerr.InvalidRecord:      {store.BadRows, store.Other, ""},
}

const (
	adviceLogin  = "correct the user in the url, or the password in the file of token-file; it is read for each connection"
	adviceRights = "let the user Write and Describe the topic, and Create it if Pingline is to make it"
	adviceTopic  = "make the topic, or let Pingline make it (--create-schema)"
)

// refusal turns an error into a store.Refusal.
func refusal(err error) *store.Refusal {
	if r := new(store.Refusal); errors.As(err, &r) {
		return r
	}
	r := &store.Refusal{Kind: store.Retry, Err: errors.New(store.Clip(strings.TrimRight(strings.ReplaceAll(err.Error(), "\n", " "), "?.")))}
	said := new(kerr.Error)
	operator := func(reason, advice string) *store.Refusal {
		r.Kind, r.Reason, r.Advice = store.Configure, reason, advice
		return r
	}
	switch {
	case errors.Is(err, errFull):
		r.Busy = true
	case errors.Is(err, errRow):
		r.Kind, r.Reason = store.BadRows, store.Other
	case errors.As(err, new(*kafkalink.FileFault)):
		return operator(store.Credentials, "correct the file; it is read for each connection")
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return operator(store.Address, "name the authority of the brokers' certificates with ca-file")
	case errors.As(err, new(tls.RecordHeaderError)):
		return operator(store.Address, "the port speaks no TLS: write kafka:// for kafkas://, or name the port that does")
	case strings.Contains(err.Error(), "remote error: tls: "):
		return operator(store.Credentials, "give a certificate that the brokers accept with cert-file and key-file")
	case errors.As(err, &said):
		m, known := meanings[said]
		if !known {
			r.Busy = errors.Is(said, kerr.ThrottlingQuotaExceeded)
			return r
		}
		if m.kind == store.Configure {
			return operator(m.reason, m.advice)
		}
		r.Kind, r.Reason = m.kind, m.reason
	}
	return r
}
