package sink

import (
	"errors"
	"net/http"
	"strings"
)

// What keeps a shard from being written to until an operator acts, in few words:
// a label of metrics.
const (
	stopCredentials = "credentials"             // 401, or no token can be read
	stopRights      = "rights"                  // 403
	stopMissing     = "missing"                 // no such bucket, database, policy or organization
	stopLimit       = "limit"                   // of the database, such as max-values-per-tag
	stopAddress     = "address"                 // what answers there does not take writes
	stopRefusals    = "too many refused"        // rows, for what they say
	stopFull        = "dead letters full"       // no room for another one
	stopDisk        = "dead letters unwritable" // for any other cause
)

// Stops are all that Stats.Stopped can be.
var Stops = []string{stopCredentials, stopRights, stopMissing, stopLimit, stopAddress, stopRefusals, stopFull, stopDisk}

// stop tells in few words what err, which is the operator's to put right, means,
// and what to do about it.
func stop(err error) (reason, advice string) {
	switch {
	case errors.Is(err, errTooManyRefused):
		return stopRefusals, "put right what they are refused for, or let them become dead letters with pingline deadletter accept"
	case errors.Is(err, errDeadLettersFull):
		return stopFull, "have them stored with pingline deadletter replay, move files away, or raise --deadletter-max-bytes"
	}
	e := new(WriteError)
	if !errors.As(err, &e) {
		return stopDisk, "give the disk of --data-dir room, or make it writable"
	}
	message := e.head()
	if e.Status == http.StatusNotFound {
		message = e.Message // it quotes the bucket, and no rows
	}
	switch {
	case e.Status == http.StatusUnauthorized, e.Status == 0:
		return stopCredentials, "give a token that is valid; a token file is read again for each write"
	case e.Status == http.StatusForbidden:
		return stopRights, "let the token write to the bucket"
	case strings.Contains(message, "max-values-per-tag"):
		return stopLimit, "raise max-values-per-tag in the configuration of InfluxDB, or drop series"
	case strings.Contains(message, "max-series"):
		return stopLimit, "raise max-series-per-database in the configuration of InfluxDB, or drop series"
	case strings.Contains(message, "limit exceeded"):
		return stopLimit, "raise that limit of InfluxDB"
	case strings.Contains(message, "Please provide either orgID or org"):
		return stopMissing, "name the organization"
	case strings.Contains(message, "not found"):
		return stopMissing, "create it, or name another one"
	}
	return stopAddress, "check the URL of InfluxDB"
}

// advised is how an advice stands behind a trouble.
func advised(advice string) string {
	if advice == "" {
		return ""
	}
	return "; " + advice
}
