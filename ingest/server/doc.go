// Package server takes pings in over HTTP, and hands them to the writer. Reads are answered
// by package reads, behind the same connections.
//
// A request costs no more than it has been charged for: connections, bytes in progress,
// pings and new riders have limits, in all and for each client, and a request beyond
// them is refused before it costs more. A request of pings is answered 200 only when
// they are durable. A request refused with 429 or 503 leaves nothing behind, unless the
// fate of its append could not be learnt: then its pings may be stored, and sending
// them again is harmless.
//
// With a Gate each request has to show a key, except for /healthz, /readyz, GET / and the
// files of the live map; without one, any client that can connect may send and read for any
// rider. The server does not judge pings.
package server
