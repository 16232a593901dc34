package native

import (
	"testing"

	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }
