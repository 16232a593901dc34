package lineprotocol

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"pingline"
	"pingline/ingest/phone"
)

// reply is InfluxDB's.
func reply(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
	if got.Err != nil {
		refuse(to, r, phone.Status(got.Err), got.Err.Error())
		return
	}
	n, others := got.Counts(), &got.Pings.Others
	dropped := n[pingline.Rejected] - got.Pings.Withheld() + n[pingline.Shed] + others.Refused
	if dropped == 0 { // a ping in a private zone is no mistake of the client
		to.Status = http.StatusNoContent
		return
	}
	text := "over the rate of the rider, or of new riders"
	if first := got.Pings.FirstInvalid(); first == nil && others.Refused > 0 {
		text = others.Why
	} else if first != nil {
		if text = first.Field + ": " + first.Reason; first.Field == "" {
			text = "unable to parse " + first.Reason
		}
	}
	if dropped < got.Pings.Received-got.Pings.Withheld()+len(others.Ends) {
		text = "partial write: " + text
	}
	refuse(to, r, http.StatusBadRequest, text+" dropped="+strconv.Itoa(dropped))
}

// codes are 2.x's words for a status.
var codes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusRequestEntityTooLarge: "request too large", http.StatusUnsupportedMediaType: "unsupported media type",
}

// refuse answers with an error as 1.x or 2.x words it.
func refuse(to *phone.Reply, r *phone.Request, status int, text string) {
	to.Status, to.ContentType = status, "application/json"
	var said struct {
		Error   string `json:"error,omitempty"`   // 1.x
		Code    string `json:"code,omitempty"`    // 2.x
		Message string `json:"message,omitempty"` // 2.x
	}
	if first(r) {
		said.Error = text
	} else {
		said.Code, said.Message = codes[status], text
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(said); err != nil {
		panic(err) // strings always marshal
	}
	to.Body = append(to.Body, bytes.TrimSpace(b.Bytes())...)
}
