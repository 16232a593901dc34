// Package ingest judges pings, in one order, and makes them durable.
//
// Its Writer is a single goroutine. It takes requests from any number of goroutines,
// judges every ping in one order, appends the verdicts to the log in commits, and
// answers a request only when every entry that its verdicts rest on is on disk. Its
// Overload decides how much is given up when more pings come in than the stores take.
//
// A refused request leaves nothing behind, neither in the log nor in the filter,
// unless the fate of its append could not be learnt: then its pings may be stored, and
// sending them again is harmless.
//
// Package ingest speaks no protocol and reads no request. Package server does,
// which imports this one; nothing here knows of it.
package ingest
