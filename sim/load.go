package sim

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"pingline/sim/apps"
	"pingline/sim/audit"
	"pingline/sim/fault"
)

// LoadConfig says what to send where. URL and Phones are required.
type LoadConfig struct {
	URL         string         // of the ingester, such as http://localhost:8080
	Phones      Phones         // whose pings to send
	Seed        uint64         // of how long a refused request waits
	Rate        float64        // pings/s over all connections; 0 means as fast as it goes
	Shape       Shape          // a rate that changes; nil means Rate throughout
	Schedule    NewSchedule    // phones with times of their own; nil means that they take turns at that rate
	Storm       Storm          // before which the phones were without a network
	App         *apps.App      // the phones send as this app does; nil means the native protocol
	Batch       int            // pings in a request; 0 means 100, at most 20,000
	LikePhones  bool           // each phone sends its own pings, one or a few at a time; Batch is the most of them
	Connections int            // 0 means 8; a connection has one request under way
	MaxRiders   int            // phones a fast load may add up to; 0 means 4,000,000
	For         time.Duration  // no new pings after this; 0 means until cancelled
	Format      Format         // of the bodies; "" means JSON
	Header      []HeaderField  // sent with every request
	Faults      fault.Spec     // of phones and their networks
	Ledger      audit.Recorder // records each ping's answer; nil means none does

	Timeout time.Duration // for one request; 0 means 15 s
	Grace   time.Duration // for what is under way when it stops; 0 means 10 s

	TLS       *tls.Config       // of connections; nil means the defaults, and is without effect beside Transport
	Transport http.RoundTripper // nil means one of its own
}

// HeaderField is a line of a request's header.
type HeaderField struct{ Name, Value string }

const (
	maxBatch  = 20_000
	maxBehind = time.Minute // a request that is due for longer is not made any more
)

// Load sends the pings of phones as phones do: pings of one rider in order of
// time, on one connection; what was not answered is sent again until it is. It is
// an open loop: which pings a request has and when it is due does not depend on the
// answers to others. A connection that waits for an answer sends late what is due
// meanwhile. Its memory grows with the phones in use, not with time or with what
// the ingester refuses: pings still owed are not made yet.
type Load struct {
	cfg     LoadConfig
	url     string
	client  *http.Client
	faults  *fault.Faults // nil if there are none
	count   counters
	journal atomic.Pointer[journal] // nil before Run
}

// NewLoad returns a load that is not running, or an error if cfg cannot work.
func NewLoad(cfg LoadConfig) (*Load, error) {
	cfg.Batch = cmp.Or(cfg.Batch, 100)
	cfg.Format = cmp.Or(cfg.Format, JSON)
	cfg.Connections = cmp.Or(cfg.Connections, 8)
	cfg.MaxRiders = cmp.Or(cfg.MaxRiders, 4_000_000)
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 10*time.Second)
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("load: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("load of %q: not an http address", cfg.URL)
	case cfg.Phones == nil:
		return nil, fmt.Errorf("load of %s: no phones", cfg.URL)
	case !(cfg.Rate >= 0 && cfg.Rate <= 1e9):
		return nil, fmt.Errorf("load of %s: rate %g not in [0, 1e9]", cfg.URL, cfg.Rate)
	case cfg.Batch < 1 || cfg.Batch > maxBatch:
		return nil, fmt.Errorf("load of %s: batch %d not in [1, %d]", cfg.URL, cfg.Batch, maxBatch)
	case cfg.App != nil && (cfg.Ledger != nil || cfg.Faults != (fault.Spec{})):
		return nil, fmt.Errorf("load of %s: the app %s tells no verdicts, and has no faults but its own", cfg.URL, cfg.App.Name)
	case cfg.Connections < 1 || cfg.MaxRiders < 1 || cfg.For < 0 || cfg.Timeout < 0 || cfg.Grace < 0:
		return nil, fmt.Errorf("load of %s: negative limit", cfg.URL)
	}
	if cfg.Shape == nil && cfg.Rate > 0 {
		cfg.Shape = Shape{{Rate: cfg.Rate}}
	}
	if err := cfg.Shape.check(); err != nil {
		return nil, fmt.Errorf("load of %s: %w", cfg.URL, err)
	}
	if err := cfg.Storm.check(); err != nil {
		return nil, fmt.Errorf("load of %s: %w", cfg.URL, err)
	}
	if _, err := newBodies(cfg.Format); err != nil {
		return nil, fmt.Errorf("load of %s: %w", cfg.URL, err)
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     cfg.TLS,
			MaxIdleConnsPerHost: cfg.Connections,
			DisableCompression:  true,
		}
	}
	u = u.JoinPath("v1/pings")
	if cfg.Ledger != nil {
		u.RawQuery = "verdicts=1"
	}
	return &Load{
		cfg: cfg, url: u.String(), client: &http.Client{Transport: cfg.Transport},
		faults: fault.New(cfg.Faults, cfg.Seed),
	}, nil
}

// Run sends until ctx is cancelled or the load's time is over, then waits up
// to Grace until all that was sent is answered, and returns nil. It fails at
// an answer that sending again cannot mend: one that is not the ingester's, or
// that refuses this client altogether.
func (l *Load) Run(ctx context.Context) error {
	making, stop := context.WithCancel(ctx)
	defer stop()
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer l.client.CloseIdleConnections()

	start, ended := time.Now(), make(chan error, l.cfg.Connections)
	if l.cfg.For > 0 {
		timer := time.AfterFunc(l.cfg.For+l.cfg.Grace, giveUp)
		defer timer.Stop()
	}
	journal := newJournal(start)
	l.journal.Store(journal)
	defer journal.end()
	senders := make([]*sender, l.cfg.Connections)
	for conn := range senders {
		var err error
		if senders[conn], err = newSender(l, conn, start); err != nil {
			return err
		}
	}
	for _, s := range senders {
		go func() { ended <- s.run(making, sending) }()
	}
	var failure error
	var grace <-chan time.Time
	stopped := making.Done()
	for left := l.cfg.Connections; left > 0; {
		select {
		case err := <-ended:
			left--
			if err != nil {
				failure = cmp.Or(failure, err)
				stop()
				giveUp()
			}
		case <-stopped:
			stopped, grace = nil, time.After(l.cfg.Grace)
		case <-grace:
			giveUp()
		}
	}
	return failure
}
