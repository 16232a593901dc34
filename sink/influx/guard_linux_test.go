package influx

import (
	"testing"

	"pingline/internal/costtest"
)

func TestCostOfLines(t *testing.T) {
	entries, buf := sampleEntries(100), []byte(nil)
	costtest.Guard(t, len(entries), 292, nil, func() {
		buf = buf[:0]
		for i := range entries {
			buf = AppendLine(buf, &entries[i])
		}
	})
}
