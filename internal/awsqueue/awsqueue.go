// Package awsqueue finds a queue of Amazon SQS, or of a server that speaks as SQS does, and
// says why a request was not done.
//
// Credentials are those of the default chain of the AWS SDK: environment, shared files, role
// of the machine or container. Nothing is asked of a server before Open, and nothing is
// retried here. No error quotes a secret.
package awsqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Schemes are those of a URL of a queue: of AWS, and of a server at an endpoint.
var Schemes = []string{"sqs", "sqs+http", "sqs+https"}

// QueueURL says where a queue is.
type QueueURL struct {
	Region   string // "": that of the environment, or else us-east-1
	Account  string // number of its owner; "": of the credentials
	Name     string
	Endpoint string // http://host:port or https://…; "": that of AWS in Region

	Options url.Values // of the query, but for region
}

var (
	regions  = regexp.MustCompile(`^[a-z]{2}(-[a-z0-9]+)+$`)
	accounts = regexp.MustCompile(`^[0-9]{12}$`)
	names    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)
)

const forms = "is not of the form sqs://REGION/QUEUE, sqs://REGION/ACCOUNT/QUEUE or sqs+http://HOST:PORT/QUEUE"

// Parse reads a URL with no options but region, of an endpoint, and those named. It quotes no
// secret.
func Parse(text string, options ...string) (q QueueURL, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return q, errors.New(forms) // the cause would quote it, password and all
	}
	if u.User != nil || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") { // a secret may have a / in it
		return q, errors.New("has a user in it: give credentials in the environment, in ~/.aws, or by a role")
	}
	path := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	q.Name = path[len(path)-1]
	if len(path) == 2 {
		q.Account = path[0]
	}
	switch {
	case !slices.Contains(Schemes, u.Scheme), u.Host == "", u.Fragment != "", len(path) > 2, q.Name == "":
		return q, errors.New(forms)
	case !names.MatchString(strings.TrimSuffix(q.Name, fifo)) || len(q.Name) > 80:
		return q, fmt.Errorf("%q is no name of a queue: letters, digits, - and _, at most 80, and .fifo at the end of some", q.Name)
	case len(path) == 2 && !accounts.MatchString(q.Account):
		return q, fmt.Errorf("%q is no account: 12 digits", q.Account)
	}
	q.Options = u.Query()
	if u.Scheme == Schemes[0] {
		q.Region = u.Host
	} else {
		q.Endpoint = strings.TrimPrefix(u.Scheme, "sqs+") + "://" + u.Host
		q.Region = q.Options.Get("region")
		q.Options.Del("region")
	}
	if q.Region != "" && !regions.MatchString(q.Region) {
		return q, fmt.Errorf("%q is no region, such as eu-central-1", q.Region)
	}
	for key, values := range q.Options {
		if !slices.Contains(options, key) || len(values) != 1 {
			return q, fmt.Errorf("option %q: the options are %s, once each", key, cmp.Or(strings.Join(options, ", "), "none"))
		}
	}
	return q, nil
}

const fifo = ".fifo"

// FIFO reports whether the queue keeps an order within groups, and drops copies.
func (q *QueueURL) FIFO() bool { return strings.HasSuffix(q.Name, fifo) }

// String returns the URL without options.
func (q *QueueURL) String() string {
	name := strings.TrimPrefix(q.Account+"/"+q.Name, "/")
	if q.Endpoint != "" {
		return "sqs+" + q.Endpoint + "/" + name
	}
	return "sqs://" + q.Region + "/" + name
}

// Handle is a client of a queue. It is safe for concurrent use.
type Handle struct {
	at   QueueURL
	lock chan struct{} // held while client and url are looked up

	client *sqs.Client
	url    *string // as SQS knows the queue; nil: not asked yet
}

// New returns a Handle of a queue. It touches neither network nor disk.
func New(at QueueURL) *Handle { return &Handle{at: at, lock: make(chan struct{}, 1)} }

// Open returns a client and the URL by which SQS knows the queue, which it asks for once. An
// error is a *QueueFault, or ctx's.
func (h *Handle) Open(ctx context.Context) (*sqs.Client, *string, error) {
	select {
	case h.lock <- struct{}{}:
		defer func() { <-h.lock }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err := h.connect(ctx); err != nil {
		return nil, nil, err
	}
	if h.url == nil {
		in := &sqs.GetQueueUrlInput{QueueName: &h.at.Name}
		if h.at.Account != "" {
			in.QueueOwnerAWSAccountId = &h.at.Account
		}
		out, err := h.client.GetQueueUrl(ctx, in)
		if err != nil {
			return nil, nil, h.at.Explain(ctx, err)
		}
		h.url = out.QueueUrl
	}
	return h.client, h.url, nil
}

// connect makes the client. The lock is held.
func (h *Handle) connect(ctx context.Context) error {
	if h.client != nil {
		return nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithDefaultRegion("us-east-1"),
	}
	if h.at.Region != "" {
		load = append(load, config.WithRegion(h.at.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return &QueueFault{Why: NoCredentials, Advice: "correct the files and variables of AWS", Err: fmt.Errorf("settings of AWS: %w", err)}
	}
	h.client = sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		if h.at.Endpoint != "" {
			o.BaseEndpoint = &h.at.Endpoint
		}
	})
	return nil
}

// Forget has the next Open ask for the queue again: it may have been made anew.
func (h *Handle) Forget() {
	h.lock <- struct{}{}
	h.url = nil
	<-h.lock
}
