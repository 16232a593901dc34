package pingline

import "errors"

// Errors that several packages tell apart.
var (
	// ErrInvalid is wrapped by every refusal of a ping for its content.
	ErrInvalid = errors.New("invalid ping")
	// ErrCorrupt is wrapped by every refusal of bytes read back from the log.
	ErrCorrupt = errors.New("corrupt log entry")
	// ErrNewer is wrapped by the refusal of bytes in a form of a later version of this
	// program. The bytes are not damaged and must not be dropped.
	ErrNewer = errors.New("written by a newer version of Pingline: start that version")
)

// FieldError is the refusal of one field of a ping; it wraps ErrInvalid.
type FieldError struct {
	Field  string // key in the JSON form, such as "lat"
	Reason string // the rule that the value breaks, such as "not in [-90, 90]"
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func (e *FieldError) Unwrap() error { return ErrInvalid }
