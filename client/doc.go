// Package client sends pings to Pingline, and keeps each until it has a verdict.
//
// An Outbox writes a ping down before Add returns, sends the oldest pings in batches, one
// request at a time, and forgets a ping when it has a verdict. It repeats a request without
// an answer, or with 429 or 503, byte by byte, after the time that the server asks for; it
// halves one that is too large. Each ping is told with its verdict, refused ones with the
// reason.
//
// The package promises that a ping which Add took is sent until it has a verdict, across
// kill -9 and power cuts if the Outbox has a directory. It does not promise to tell a verdict
// only once: a process that is killed between the answer and the note of it sends the pings
// again, and is told that they are duplicates. The server stores each once.
package client
