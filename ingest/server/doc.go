// Package server takes pings in over HTTP, hands them to the writer, and answers
// reads.
//
// A request costs no more than it has been charged for: connections, bytes in
// progress, pings and new riders have limits, of all and of each client, and what
// is beyond them is refused before it costs more. A request of pings is answered
// 200 only when they are durable. One that is refused with 429 or 503 leaves
// nothing behind, unless the fate of its append could not be learnt: then its pings
// may be stored, and sending them again is harmless.
//
// It does not judge a ping, and it does not authenticate: whoever can connect may
// send for any rider. TLS is a proxy's work.
package server
