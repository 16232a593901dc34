package phone

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
)

// Kinds of refusals for good: nothing of the request is kept, even if it is sent again.
var (
	ErrMalformed = errors.New("malformed body")           // 400
	ErrTooLarge  = errors.New("request is too large")     // 413
	ErrEncoding  = errors.New("unknown content encoding") // 415
)

// Error is the refusal of a whole request, or of a part of it that could not be
// read.
type Error struct {
	Kind error // ErrMalformed, ErrTooLarge or ErrEncoding
	Text string
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Kind }

// Status returns the HTTP status for the kind of err, or 0 if err is of no kind above.
func Status(err error) int {
	switch {
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrEncoding):
		return http.StatusUnsupportedMediaType
	}
	return 0
}

// Refuse answers a request that was refused with its status and the reason in
// JSON, for clients that give up when they are told to.
func (to *Reply) Refuse(err error) {
	to.Status, to.ContentType = Status(err), "application/json"
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // people read it: "<", not "\u003c"
	if merr := enc.Encode(struct {
		Error string `json:"error"`
	}{err.Error()}); merr != nil {
		panic(merr) // a string always marshals
	}
	to.Body = append(to.Body, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
