// Package messages is shared by the ways in whose messages have the form of POST /v1/pings: an
// object, an array, or lines.
//
// Many messages become one request, so that one fsync answers for all. Each gets a receipt of its
// own. A message is taken once all of its pings are durable or need no storing; it is refused if
// one of them can never be stored; else it is to come later. A message that comes twice makes
// duplicates, which are not stored again.
package messages

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"pingline/ingest/mqtt"
)

// URI is the request that messages become.
const URI = "/v1/pings?verdicts=1"

// Address is that of messages, of which none came from a client: it is of the block for
// discarded traffic (RFC 6666), from which no packet comes. Limits of a client are not for it.
var Address = &net.TCPAddr{IP: net.ParseIP("100::")}

// Ending is how a message ended.
type Ending uint8

// The endings.
const (
	Taken   Ending = iota + 1 // all of its pings are durable, or need no storing
	Later                     // try again
	Refused                   // it cannot be read, or has a ping that is not valid
)

// Receipt is the answer to a message.
type Receipt struct {
	Ending Ending
	Why    string        // of Refused
	Wait   time.Duration // of Later, at least

	// Private says of Refused that a ping of it lies in a private zone, so that its text is
	// not to be kept.
	Private bool
}

// Keep returns the text of a refused message as far as it is to be kept, nil: not at all.
func (r *Receipt) Keep(text []byte) []byte {
	if r.Private {
		return nil
	}
	return text
}

// Post makes a request of a body.
type Post func(body []byte) (mqtt.Result, []byte)

// Bounds of a request, unless a single message is larger.
const (
	mostMessages = 1000
	mostBytes    = 256 << 10
)

// Take has messages judged and stored, and returns a receipt for each.
func (post Post) Take(list [][]byte) []Receipt {
	receipts := make([]Receipt, len(list))
	for i := 0; i < len(list); {
		n, size := 1, len(list[i])
		for joins := object(list[i]); joins && i+n < len(list) && n < mostMessages && object(list[i+n]); n++ {
			if size += 1 + len(list[i+n]); size > mostBytes {
				break
			}
		}
		post.take(list[i:i+n], receipts[i:i+n])
		i += n
	}
	return receipts
}

// object reports whether a message is one whole object, and can so be a line among others.
func object(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && text[0] == '{' && !bytes.ContainsAny(text, "\r\n") && json.Valid(text)
}

// pingsAnswer is that of POST /v1/pings.
type pingsAnswer struct {
	Verdicts       []string
	Shed, Rejected int
	Error          string
	Errors         []json.RawMessage
}

// withheld reports whether any of the pings, and whether all that were rejected, lie in a private
// zone. That is no fault of them. The answer may list some of them alone, but then at least one
// of each kind.
func (a *pingsAnswer) withheld() (any, all bool) {
	all = len(a.Errors) > 0
	for _, text := range a.Errors {
		var e struct{ Field string }
		is := json.Unmarshal(text, &e) == nil && e.Field == "private_zone"
		any, all = any || is, all && is
	}
	return any, all
}

// take makes a request of messages. Of those that were rejected each is taken by itself, for its
// reason; the others are not sent again, as their riders would pay for it. If the answer does not
// say which message it is about, the two halves are taken by themselves.
func (post Post) take(list [][]byte, receipts []Receipt) {
	body := list[0]
	if len(list) > 1 {
		body = bytes.Join(list, []byte("\n"))
	}
	result, text := post(body)
	var a pingsAnswer
	err := json.Unmarshal(text, &a)
	private, harmless := a.withheld()
	if harmless {
		a.Rejected = 0
	}
	switch {
	case result.Done() && err == nil && len(list) > 1 && len(a.Verdicts) == len(list):
		for i, v := range a.Verdicts {
			switch {
			case v == "shed":
				receipts[i] = Receipt{Ending: Later, Wait: time.Second}
			case v == "rejected" && a.Rejected > 0:
				post.take(list[i:i+1], receipts[i:i+1])
			default:
				receipts[i] = Receipt{Ending: Taken}
			}
		}
	case !result.Done() && !lasting(result.Status):
		for i := range receipts {
			receipts[i] = Receipt{Ending: Later, Wait: result.Pause()}
		}
	case len(list) > 1:
		half := len(list) / 2
		post.take(list[:half], receipts[:half])
		post.take(list[half:], receipts[half:])
	case result.Done() && err != nil:
		receipts[0] = Receipt{Ending: Later, Wait: result.Pause()}
	case result.Done() && a.Rejected == 0 && a.Shed > 0:
		receipts[0] = Receipt{Ending: Later, Wait: time.Second}
	case result.Done() && a.Rejected == 0 && a.Error == "":
		receipts[0] = Receipt{Ending: Taken}
	case result.Done() && a.Shed > 0: // the valid ones first
		receipts[0] = Receipt{Ending: Later, Wait: time.Second}
	default:
		receipts[0] = Receipt{Ending: Refused, Why: a.why(text), Private: private}
	}
}

// lasting reports whether a message of that status would be answered alike at any time.
func lasting(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// mostWhy bounds the reason of a refusal, in bytes.
const mostWhy = 1 << 10

func (a *pingsAnswer) why(text []byte) string {
	parts := []string{}
	if a.Error != "" {
		parts = append(parts, a.Error)
	}
	for _, e := range a.Errors {
		parts = append(parts, string(e))
	}
	why := strings.Join(parts, " ")
	if why == "" {
		why = string(text)
	}
	return strings.ToValidUTF8(why[:min(len(why), mostWhy)], "")
}
