package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"pingline"
	"pingline/internal/pause"
	"pingline/track"
)

// Config says where an Outbox sends to, and how. URL is required.
type Config struct {
	URL    string // of the server, such as https://pings.example
	Dir    string // directory of the queue; "" keeps it in memory, where it ends with the process
	Key    string // secret of the rider's key; "" sends none
	Batch  int    // most pings in a request, 1 to 20,000; 0 means 500
	Queued int    // most pings that wait; 0 means 200,000, a day and more of a fix a second

	// Report is called once for each ping with its verdict, oldest ping first, and with the
	// reason if it was rejected or shed, as far as the server gives it (100 of a request); a ping that is too large alone, or whose form is not
	// taken, is Rejected. It is called by the goroutine of Run, which waits for it. Nil means
	// that nobody is told.
	Report func(p *pingline.Ping, v pingline.Verdict, reason string)

	// Repeating is called with the reason before each wait, such as for a line in a log. Nil
	// means that nobody is told.
	Repeating func(why error, wait time.Duration)

	Wait    time.Duration // before a request is repeated that the server has no wish about, doubled each time; 0 means 1 s
	MaxWait time.Duration // 0 means 1 min
	Timeout time.Duration // for one request; 0 means 1 min

	Transport http.RoundTripper // nil means http.DefaultTransport
}

const (
	mostBatch  = 20_000
	longestAsk = time.Hour // that a server may send a client away for
)

// Errors that callers tell apart.
var (
	ErrFull   = errors.New("the queue is full")
	ErrClosed = errors.New("the outbox is closed")
)

// Refused is the error of Run when a person has to act: a key is missing, wrong or of another
// rider (401, 403), or the URL leads to no Pingline (404 and the like). No ping is lost: call
// Run again after SetKey, or with another Config.
type Refused struct {
	Status int
	Answer string // of the server, at most 200 bytes
}

func (e *Refused) Error() string {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return fmt.Sprintf("the key is refused: %d %s", e.Status, e.Answer)
	}
	return fmt.Sprintf("the URL is not that of a Pingline: %d %s", e.Status, e.Answer)
}

// Stats counts the work of an Outbox since it was opened.
type Stats struct {
	Queued    int                       // pings that wait for a verdict
	Verdicts  [pingline.Verdicts]uint64 // pings by verdict
	Requests  uint64                    // repeated ones included
	Repeats   uint64                    // requests that were sent again
	ShedLevel int                       // of the last answer; above 0, send less often
	Damaged   int                       // lines of the queue's file that a crash had cut
}

// Outbox is pings on their way. It is safe for concurrent use; one Run at a time sends.
type Outbox struct {
	cfg    Config
	url    string
	client *http.Client
	one    chan struct{} // held by Run
	life   context.Context
	end    context.CancelFunc // ends life, by Close
	closes sync.Once

	mu      sync.Mutex   // guards the fields below; no other lock is taken while it is held
	journal *pingFile    // nil: in memory
	queue   []queuedPing // from head on, oldest first
	head    int
	number  uint64 // of the last ping
	batch   int    // most pings in the next request
	limit   int    // most pings in any request, after answers of 413
	key     string
	stats   Stats
	changed chan struct{} // closed, and made anew, when the queue changes
}

// queuedPing is a ping in the queue.
type queuedPing struct {
	ping   pingline.Ping
	number uint64
}

// Open returns an Outbox with the pings that an earlier one has left in cfg.Dir. It fails if
// cfg cannot work, or if the directory cannot be used or is in use.
func Open(cfg Config) (*Outbox, error) {
	cfg.Batch = cmp.Or(cfg.Batch, 500)
	cfg.Queued = cmp.Or(cfg.Queued, 200_000)
	cfg.Wait = cmp.Or(cfg.Wait, time.Second)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, time.Minute)
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		return nil, errors.New("client: Config.URL is no URL") // the error would have its password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("client: Config.URL %q is not of http or https", u.Redacted())
	case cfg.Batch < 1 || cfg.Batch > mostBatch:
		return nil, fmt.Errorf("client: Config.Batch %d is not in [1, %d]", cfg.Batch, mostBatch)
	case cfg.Queued < 1 || cfg.Wait < 0 || cfg.MaxWait < 0 || cfg.Timeout < 0:
		return nil, errors.New("client: a limit of Config is negative")
	}
	u = u.JoinPath("v1/pings")
	u.RawQuery = "verdicts=1"
	o := &Outbox{
		cfg: cfg, url: u.String(), key: cfg.Key, batch: cfg.Batch, limit: cfg.Batch,
		one: make(chan struct{}, 1), changed: make(chan struct{}),
		client: &http.Client{
			Transport: cfg.Transport,
			// A redirect turns a POST into a GET without pings, whose 200 says nothing.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	o.life, o.end = context.WithCancel(context.Background())
	if cfg.Dir != "" {
		if o.journal, o.queue, o.stats.Damaged, err = openPingFile(cfg.Dir); err != nil {
			return nil, fmt.Errorf("client: open the queue: %w", err)
		}
		if n := len(o.queue); n > 0 {
			o.number = o.queue[n-1].number
		}
	}
	return o, nil
}

// Add puts pings into the queue, and returns when they are on disk. It returns an error
// wrapping pingline.ErrInvalid for a ping that is not valid, ErrFull, ErrClosed, or that of the
// disk; then it has added none.
func (o *Outbox) Add(pings ...pingline.Ping) error {
	for i := range pings {
		if err := pings[i].Validate(); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.life.Err() != nil:
		return ErrClosed
	case len(o.queue)-o.head+len(pings) > o.cfg.Queued:
		return fmt.Errorf("%w: %d pings wait, of at most %d", ErrFull, len(o.queue)-o.head, o.cfg.Queued)
	}
	from := len(o.queue)
	for i := range pings {
		o.queue = append(o.queue, queuedPing{pings[i], o.number + uint64(i) + 1})
	}
	if o.journal != nil {
		if err := o.journal.add(o.queue[from:]); err != nil {
			clear(o.queue[from:])
			o.queue = o.queue[:from]
			return fmt.Errorf("add to the queue: %w", err)
		}
	}
	o.number += uint64(len(pings))
	o.change()
	return nil
}

// change wakes all that wait for a change. The caller holds mu.
func (o *Outbox) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// SetKey has the next requests sent with another key.
func (o *Outbox) SetKey(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.key = key
}

// Stats returns the counts so far.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Queued = len(o.queue) - o.head
	return s
}

// Wait returns nil as soon as no ping waits for a verdict, or the error of ctx.
func (o *Outbox) Wait(ctx context.Context) error {
	return o.until(ctx, func() bool { return o.head == len(o.queue) })
}

// until waits until met, which is called with mu held, is true.
func (o *Outbox) until(ctx context.Context, met func() bool) error {
	for {
		o.mu.Lock()
		ok, changed := met(), o.changed
		o.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run sends until ctx is done or the Outbox is closed, and returns nil. Any other return is
// a *Refused, or the error of the disk. A second Run waits for the first to end.
func (o *Outbox) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.life, cancel)()
	select {
	case o.one <- struct{}{}:
		defer func() { <-o.one }()
	case <-ctx.Done():
		return nil
	}
	defer o.client.CloseIdleConnections()
	for {
		if o.until(ctx, func() bool { return o.head < len(o.queue) }) != nil || ctx.Err() != nil {
			return nil
		}
		o.mu.Lock()
		list := o.queue[o.head:min(len(o.queue), o.head+o.batch)]
		o.mu.Unlock()
		if err := o.deliver(ctx, list); err != nil {
			return err
		}
	}
}

// deliver sends pings until they are settled, or have to be sent in smaller batches. The
// list is a part of the queue that nobody changes until then.
func (o *Outbox) deliver(ctx context.Context, list []queuedPing) error {
	body := []byte{'['}
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = track.AppendPing(body, &list[i].ping)
	}
	body = append(body, ']')
	for try := 0; ; try++ {
		r, why := o.post(ctx, body, try)
		switch r.Fate() {
		case Judged:
			t, err := r.Judgement(len(list))
			if err == nil {
				verdicts := make([]pingline.Verdict, len(list))
				if err = t.Verdicts(verdicts); err == nil {
					return o.settle(list, verdicts, t.Errors)
				}
			}
			if refusesAll(&r) { // one of the pings may be why
				return o.halve(list, &r)
			}
			why = fmt.Errorf("an answer of no Pingline: %d, %w", r.Status, err)
		case Halve:
			if len(list) > 1 || r.Status == http.StatusRequestEntityTooLarge {
				return o.halve(list, &r)
			}
		case Forget:
			return o.refuse(list, &r)
		case Ask:
			return &Refused{r.Status, o.brief(r.Body)}
		}
		wait := o.wait(&r, try)
		if o.cfg.Repeating != nil && ctx.Err() == nil {
			o.cfg.Repeating(cmp.Or(why, fmt.Errorf("answered %d %s", r.Status, o.brief(r.Body))), wait)
		}
		if pause.For(ctx, wait) != nil {
			return nil //nolint:nilerr // told to stop, which is no error
		}
	}
}

// wait returns the time before a repetition: what the server asks for, or twice as long as
// the last time, and up to half as much again, so that clients do not come back together.
func (o *Outbox) wait(r *Response, try int) time.Duration {
	wait := min(r.Wait(time.Now()), longestAsk)
	if wait == 0 {
		wait = min(o.cfg.Wait<<min(try, 20), o.cfg.MaxWait)
	}
	return wait + time.Duration(rand.Float64()*float64(wait/2))
}

// refusesAll reports whether an answer refuses a request as one that is malformed. A proxy's
// 400 is no JSON: it says nothing about the pings.
func refusesAll(r *Response) bool {
	return r.Status == http.StatusBadRequest && bytes.HasPrefix(bytes.TrimSpace(r.Body), []byte(`{"error":`))
}

// brief returns the begin of an answer.
func brief(body []byte) string { return string(bytes.TrimSpace(body[:min(len(body), 200)])) }

// brief is the same without the key: a server, or a proxy before it, may quote the request.
func (o *Outbox) brief(body []byte) string {
	o.mu.Lock()
	key := o.key
	o.mu.Unlock()
	if key != "" {
		body = bytes.ReplaceAll(body, []byte(key), []byte("…"))
	}
	return brief(body)
}

// post sends a body once. The error is why there is no answer.
func (o *Outbox) post(ctx context.Context, body []byte, try int) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return Response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	o.mu.Lock()
	key := o.key
	o.stats.Requests++
	if try > 0 {
		o.stats.Repeats++
	}
	o.mu.Unlock()
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := o.client.Do(req)
	if err != nil {
		if inner := new(url.Error); errors.As(err, &inner) {
			err = inner.Err // without the URL, which may have a password
		}
		return Response{}, err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	r, err := Read(resp)
	if err == nil {
		o.mu.Lock()
		o.stats.ShedLevel = max(0, r.ShedLevel)
		o.mu.Unlock()
	}
	return r, err
}

// halve has the list sent in smaller batches. A single ping is refused. Batches that are taken
// grow again, except after 413, whose limit stays.
func (o *Outbox) halve(list []queuedPing, r *Response) error {
	if len(list) == 1 {
		return o.refuse(list, r)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.batch = len(list) / 2
	if r.Status == http.StatusRequestEntityTooLarge {
		o.limit = o.batch
	}
	return nil
}

// refuse forgets pings of a request that the server never takes.
func (o *Outbox) refuse(list []queuedPing, r *Response) error {
	verdicts := make([]pingline.Verdict, len(list))
	reasons := make([]Objection, len(list))
	for i := range verdicts {
		verdicts[i] = pingline.Rejected
		reasons[i] = Objection{Index: i, Text: fmt.Sprintf("%d %s", r.Status, o.brief(r.Body))}
	}
	return o.settle(list, verdicts, reasons)
}

// settle tells the verdicts of pings, and forgets them.
func (o *Outbox) settle(list []queuedPing, verdicts []pingline.Verdict, reasons []Objection) error {
	if o.cfg.Report != nil {
		why := make(map[int]string, len(reasons))
		for _, r := range reasons {
			why[r.Index] = r.String()
		}
		for i := range list {
			o.cfg.Report(&list[i].ping, verdicts[i], why[i])
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	last := list[len(list)-1].number
	for _, v := range verdicts {
		o.stats.Verdicts[v]++
	}
	o.head += len(list)
	o.batch = min(o.limit, 2*o.batch)
	if o.head >= 1024 && o.head >= len(o.queue)/2 || o.head == len(o.queue) {
		o.queue, o.head = append([]queuedPing(nil), o.queue[o.head:]...), 0
	}
	o.change()
	if o.journal == nil {
		return nil
	}
	err := o.journal.done(last)
	if err == nil && o.journal.size > rewriteAt && o.head == 0 {
		err = o.journal.rewrite(o.queue)
	}
	if err != nil {
		return fmt.Errorf("note verdicts in the queue: %w", err)
	}
	return nil
}

// Close ends Run, breaking off a request that is under way, and closes the queue: pings
// without a verdict stay in its directory.
func (o *Outbox) Close() (err error) {
	o.closes.Do(func() { err = o.close() })
	return err
}

func (o *Outbox) close() error {
	o.end()
	o.one <- struct{}{} // Run has ended
	defer func() { <-o.one }()
	o.mu.Lock() // nothing is added any more
	defer o.mu.Unlock()
	if o.journal == nil {
		return nil
	}
	return o.journal.close()
}
