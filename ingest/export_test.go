package ingest

import "pingline/dedupe"

// For tests of other packages' parts beside a writer.
var (
	NATSServer = natsServer
	TestLog    = testLog
	MadeUp     = madeUp
	TestCells  = testCells
	NewProxy   = newProxy
)

// URL is p's, as of a server.
func (p *proxy) URL() string { return p.url() }

// HoldRequests, HoldAnswers and HeldRequest are p's.
func (p *proxy) HoldRequests(on bool) { p.holdRequests(on) }
func (p *proxy) HoldAnswers(on bool)  { p.holdAnswers(on) }
func (p *proxy) HeldRequest() bool    { return p.heldRequest() }

// Filter is w's.
func (w *Writer) Filter() *dedupe.Filter { return w.filter }
