package ingest

import "pingline/dedupe"

// For tests of other packages' parts beside a writer.
var (
	NATSServer = natsServer
	TestLog    = testLog
	MadeUp     = madeUp
	TestCells  = testCells
)

// Filter is w's.
func (w *Writer) Filter() *dedupe.Filter { return w.filter }
