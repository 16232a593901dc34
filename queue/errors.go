package queue

import (
	"errors"

	"pingline/queue/cursor"
	"pingline/queue/disk"
	"pingline/queue/record"
)

// Errors that callers tell apart.
var (
	// ErrLocked is wrapped by Open when another process uses the directory.
	ErrLocked = disk.ErrLocked
	// ErrFull is wrapped by an Append that was refused for lack of room. Nothing
	// was stored.
	ErrFull = errors.New("the log is full")
	// ErrTooLarge is wrapped by an Append of more than MaxPayload bytes. Nothing
	// was stored.
	ErrTooLarge = errors.New("too large for the log")
	// ErrUnclear is wrapped by every other failure of an Append: the record may
	// be stored, now or later, until Settle returns nil.
	ErrUnclear = errors.New("may be stored or not")
	// ErrNewer is wrapped by Open when a newer version has written the log or its
	// cursors. Nothing of it was changed.
	ErrNewer = record.ErrNewer
	// ErrOwned is wrapped by Open when another process has the log on its servers,
	// and by every failure because another process has taken the log over.
	ErrOwned = errors.New("the log belongs to another node")
	// ErrClosed is wrapped by the errors of a closed Log or Reader.
	ErrClosed = cursor.ErrClosed
)
