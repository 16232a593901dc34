// Package privacy changes pings before anything of them is kept: pings within a private
// zone are withheld or moved to its centre, and riders get pseudonyms.
//
// A Door does both to the decoded pings of a request. Whatever comes behind it, from the
// filter to the stores and the logs, knows neither true positions within zones nor true
// names. A ping with an event that may be a call for help passes as it is.
//
// A track tells where it is broken off: the points before and behind a zone lie near its
// border. Devices and trips keep their names. Pings that were stored before stay as they
// are.
package privacy
