// Package auth finds out who sends a request, and which rights that sender has.
//
// A sender shows a key, which is in a file of keys by its hash, or a signed token. What is
// shown is in no log, error, counter or note; the name of the key is. A request that shows
// nothing, or something wrong, is nobody's: the zero Identity may do nothing.
//
// Wrong keys are counted, and a client that shows many is answered 429 in place of 401. A
// right key is let in all the same, because other senders may have the client's address.
// The memory of the package does not grow with wrong keys.
//
// The package does not encrypt: without TLS, who reads the network reads the keys.
package auth
