// Package sqs takes pings from a queue of Amazon SQS, or of a server that speaks as SQS does.
//
// Messages have the form of POST /v1/pings, by themselves or in a notification of SNS, and pass
// all that its requests pass. A message is deleted once its pings are durable, and never
// before, so that each is taken at least once; one that comes twice makes duplicates, which are
// not stored again. While pings cannot be taken, or riders are over their rates, a message is
// tried again here, and its visibility is extended meanwhile: none is dropped, and no receipt
// is spent on it, so that the redrive of the queue does not see it.
//
// A message that can never be taken is made visible again at once if the queue has a redrive
// policy, by which SQS moves it away. From a queue without one it is moved to the file of
// refused messages.
//
// The package trusts whoever may send to the queue to send for every rider.
package sqs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline/ingest/messages"
	"pingline/internal/awsqueue"
)

// Inlet says where the messages are. The zero value is nowhere.
type Inlet struct {
	URL string // as awsqueue.Parse reads it, with the options pollers and visibility
}

// Options of a URL.
const (
	optionPollers    = "pollers"    // requests for messages at once
	optionVisibility = "visibility" // how long a message is not given to others, unless that is extended
)

// flag is the one that sets URL.
const flag = "sqs-in"

// Check returns the flag of the setting if it is wrong, and why it is.
func (in *Inlet) Check() (string, error) {
	if in.URL == "" {
		return "", nil
	}
	if _, _, _, err := in.parse(); err != nil {
		return flag, err
	}
	return "", nil
}

func (in *Inlet) parse() (at awsqueue.QueueURL, pollers int, visibility time.Duration, err error) {
	if at, err = awsqueue.Parse(in.URL, optionPollers, optionVisibility); err != nil {
		return at, 0, 0, err
	}
	pollers, visibility = 4, 30*time.Second
	if text := at.Options.Get(optionPollers); at.Options.Has(optionPollers) {
		if pollers, err = strconv.Atoi(text); err != nil || pollers < 1 || pollers > 64 {
			return at, 0, 0, fmt.Errorf("pollers=%.32s is not in [1, 64]", text)
		}
	}
	if text := at.Options.Get(optionVisibility); at.Options.Has(optionVisibility) {
		if visibility, err = time.ParseDuration(text); err != nil || visibility < 2*time.Second || visibility > time.Hour || visibility%time.Second != 0 {
			return at, 0, 0, fmt.Errorf("visibility=%.32s is not in [2s, 1h], in whole seconds", text)
		}
	}
	return at, pollers, visibility, nil
}

// Config sets up a Receiver. All but Logger are required.
type Config struct {
	Inlet
	Take    messages.Post
	Rejects *messages.Rejects
	Logger  *slog.Logger
}

// Times of a request.
const (
	longPoll = 20 * time.Second // for which an empty queue holds a request
	wait     = 10 * time.Second // for an answer
	mostWait = 30 * time.Second // between two attempts
)

// Receiver takes messages from a queue. It is safe for concurrent use.
type Receiver struct {
	cfg        Config
	at         awsqueue.QueueURL
	queue      *awsqueue.Handle
	pollers    int
	visibility time.Duration

	count     haulCounter
	connected atomic.Bool
	redrive   atomic.Bool            // the queue moves messages away by itself
	trouble   atomic.Pointer[string] // why messages do not come, or nil
	unkept    atomic.Pointer[string] // why a refused message cannot be kept, or nil
	told      atomic.Int64           // when a refused message was logged last, s since 1970
}

// Open reads the settings. It does not connect before Run.
func Open(cfg Config) (r *Receiver, err error) {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	r = &Receiver{cfg: cfg}
	if r.at, r.pollers, r.visibility, err = cfg.parse(); err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	r.queue = awsqueue.New(r.at)
	return r, nil
}

// Run takes messages until ctx is cancelled, then finishes those that are being taken, and
// returns nil. It asks again and again if need be.
func (r *Receiver) Run(ctx context.Context) error {
	var polling sync.WaitGroup
	for range r.pollers {
		polling.Go(func() { r.poll(ctx) })
	}
	polling.Wait()
	r.connected.Store(false)
	return nil
}

// poll asks for messages and takes them, one answer after the other.
func (r *Receiver) poll(ctx context.Context) {
	for failed := 0; ctx.Err() == nil; {
		err := r.once(ctx)
		if err == nil {
			failed = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		r.fails(err)
		failed++
		most := min(time.Second<<min(failed, 5), mostWait)
		pause(ctx, most/2+rand.N(most/2))
	}
}

// pause waits, at most until ctx is cancelled.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// once asks for messages and has them taken.
func (r *Receiver) once(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, longPoll+wait)
	defer cancel()
	client, url, err := r.queue.Open(asking)
	if err == nil && !r.connected.Load() {
		err = r.learn(asking, client, url)
	}
	if err != nil {
		return r.late(err)
	}
	out, err := client.ReceiveMessage(asking, &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: batchMessages, WaitTimeSeconds: int32(longPoll.Seconds()), VisibilityTimeout: int32(r.visibility.Seconds()),
	})
	if err != nil {
		return r.late(r.at.Explain(asking, err))
	}
	r.trouble.Store(nil)
	if len(out.Messages) > 0 {
		newHaul(r, client, url, out.Messages).take(ctx)
	}
	return nil
}

// late says that time was up in words of ours.
func (r *Receiver) late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer within %v", &r.at, longPoll+wait)
	}
	return err
}

// learn finds out whether the queue moves messages away by itself. Without the right to ask it
// is taken for one that does not.
func (r *Receiver) learn(ctx context.Context, client *sqs.Client, url *string) error {
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy}})
	fault := new(awsqueue.QueueFault)
	if err != nil {
		if err = r.at.Explain(ctx, err); !errors.As(err, &fault) || fault.Why != awsqueue.NoRight {
			return err
		}
	}
	has := out != nil && out.Attributes[string(types.QueueAttributeNameRedrivePolicy)] != ""
	r.redrive.Store(has)
	if !r.connected.Swap(true) {
		r.cfg.Logger.Info("taking messages of --sqs-in", "queue", r.at.String(), "redrive", has)
	}
	return nil
}

// fails notes why no messages come, and logs it when that begins or changes.
func (r *Receiver) fails(err error) {
	r.connected.Store(false)
	why := err.Error()
	if fault := new(awsqueue.QueueFault); errors.As(err, &fault) {
		if fault.Advice != "" {
			why += ": " + fault.Advice
		}
		if fault.Why == awsqueue.NoQueue {
			r.queue.Forget()
		}
	}
	if was := r.trouble.Swap(&why); was == nil || *was != why {
		r.cfg.Logger.Warn("no messages of --sqs-in for now; it is tried again", "reason", why)
	}
}

// Notes returns a sentence for each trouble.
func (r *Receiver) Notes() (notes []string) {
	if r == nil {
		return nil
	}
	for _, at := range []*atomic.Pointer[string]{&r.trouble, &r.unkept} {
		if why := at.Load(); why != nil {
			notes = append(notes, "--sqs-in: "+*why)
		}
	}
	return notes
}
