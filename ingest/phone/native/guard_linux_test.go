package native

import (
	"testing"
	"time"

	"pingline/ingest/phone"
	"pingline/internal/costtest"
)

func TestCostOfDecoding(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_000)
	r := phone.Request{Now: now, Limits: phone.Limits{}.WithDefaults(), Body: benchBody(100, now)}
	var d phone.Pings
	costtest.Guard(t, 100, 220, nil, func() {
		if err := Protocol.Read(&r, &d); err != nil || len(d.List) != 100 {
			t.Fatal(err, d.Rejected)
		}
	})
}
