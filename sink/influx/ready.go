package influx

import (
	"strings"

	"pingline"
)

// appendReady appends a ready line of an earlier version, with its timestamp
// in ns. A line without a timestamp is left as it is.
func appendReady(dst []byte, e *pingline.Entry) []byte {
	if _, ok := e.LineTime(); !ok {
		return append(append(dst, e.Line...), '\n')
	}
	dst = append(dst, strings.TrimRight(e.Line, " \r")...)
	if e.Kind != pingline.ReplayedNano {
		dst = append(dst, "000000"...)
	}
	return append(dst, '\n')
}
