// Package ingest takes pings in over HTTP and makes them durable.
//
// Its Server reads and checks requests, many at once. Its Writer is one
// goroutine that judges every ping in one order and appends it to the log; a
// request is answered only when all that its verdicts rest on is on disk.
//
// A request that is refused (429, 503) leaves nothing behind, neither in the
// log nor in the filter, unless the fate of its append could not be learnt: then
// its pings may be stored, and sending them again is harmless.
package ingest
