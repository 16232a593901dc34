package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pingline/ingest/messages"
	"pingline/internal/kafkalink"
)

// Try finds out whether the cluster answers, the topic is there and may be read, and the group
// may be joined. It joins no group and takes no message. The settings must have been checked.
func (s *Topic) Try(ctx context.Context) []messages.Trial {
	link, err := s.parse()
	var cl *kgo.Client
	if err == nil {
		cl, err = kgo.NewClient(link.Client()...)
	}
	if err != nil {
		return []messages.Trial{{What: "reachable", Found: err.Error(), Remedy: "correct --kafka-in"}}
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	where, began := strings.Join(link.Seeds, ","), time.Now()
	if err := cl.Ping(ctx); err != nil {
		return []messages.Trial{{What: "reachable", Found: oneLine(where + ": " + err.Error()), Remedy: remedy(err)}}
	}
	list := []messages.Trial{{What: "reachable", Found: fmt.Sprintf("%s answers in %d ms", where, time.Since(began).Milliseconds())}}
	topic := tryTopic(ctx, cl, link)
	list = append(list, topic)
	if topic.Remedy != "" {
		return list
	}
	return append(list, tryGroup(ctx, cl, cmp.Or(link.Options[optionGroup], defaultGroup)))
}

const (
	adviceRead  = "let the user Read and Describe it"
	adviceTopic = "make the topic, or name another in --kafka-in: Pingline makes none"
)

// tryTopic asks for a topic, and for the user's rights to it.
func tryTopic(ctx context.Context, cl *kgo.Client, link *kafkalink.Brokers) messages.Trial {
	f := messages.Trial{What: "topic " + link.Topic}
	req := kmsg.NewPtrMetadataRequest()
	of := kmsg.NewMetadataRequestTopic()
	of.Topic = kmsg.StringPtr(link.Topic)
	req.Topics, req.IncludeTopicAuthorizedOperations = []kmsg.MetadataRequestTopic{of}, true // AllowAutoTopicCreation stays false
	resp, err := req.RequestWith(ctx, cl)
	if err == nil && len(resp.Topics) != 1 {
		err = fmt.Errorf("the brokers tell of %d topics", len(resp.Topics))
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		f.Found, f.Remedy = "is not there", adviceTopic
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		f.Found, f.Remedy = "this user may not know of it", adviceRead
	case err != nil:
		f.Found, f.Remedy = oneLine(err.Error()), remedy(err)
	default:
		f.Found = fmt.Sprintf("has %d partitions", len(resp.Topics[0].Partitions))
		may := kadm.DecodeACLOperations(resp.Topics[0].AuthorizedOperations)
		switch {
		case len(may) == 0:
			f.Found += "; the brokers do not tell whether it may be read"
		case slices.Contains(may, kadm.OpRead):
			f.Found += ", and may be read"
		default:
			f.Found, f.Remedy = f.Found+", and this user may not read it", adviceRead
		}
	}
	return f
}

// tryGroup asks for a group, and for the user's rights to it.
func tryGroup(ctx context.Context, cl *kgo.Client, group string) messages.Trial {
	f := messages.Trial{What: "group " + group}
	found, err := kadm.NewClient(cl).DescribeGroups(ctx, group)
	if err == nil {
		err = found[group].Err
	}
	may := found[group].AuthorizedOperations
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed), err == nil && len(may) > 0 && !slices.Contains(may, kadm.OpRead):
		f.Found, f.Remedy = "this user may not be a member", "let the user Read the group, or name another: --kafka-in=…?group=NAME"
	case errors.Is(err, kerr.GroupIDNotFound), err == nil && found[group].State == "Dead", errors.Is(err, kerr.CoordinatorNotAvailable): // the last in a new cluster
		f.Found = "is not there yet, and made with the first member"
	case err != nil:
		f.Found, f.Remedy = oneLine(err.Error()), remedy(err)
	default:
		f.Found = fmt.Sprintf("has %d members", len(found[group].Members))
	}
	return f
}

// remedy returns the advice about an error.
func remedy(err error) string {
	switch {
	case errors.As(err, new(*kafkalink.FileFault)):
		return "correct the file; it is read for each connection"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "correct the user in --kafka-in, or the password in --kafka-in-password-file"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "name a mechanism that the brokers take, such as ?sasl=scram-sha-512"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "name the authority of the brokers' certificates in --kafka-in-ca-file"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "the port speaks no TLS: write kafka:// for kafkas://, or name the port that does"
	}
	return "check --kafka-in, and that Kafka runs and no firewall is in between: each broker must be reachable by the name that it tells"
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }
