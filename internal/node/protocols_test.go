package node

import (
	"testing"

	"pingline/ingest/phone"
)

func TestTableOfProtocols(t *testing.T) {
	if err := phone.Check(protocols); err != nil || len(protocols) == 0 {
		t.Errorf("%d protocols in the table: %v", len(protocols), err)
	}
}
