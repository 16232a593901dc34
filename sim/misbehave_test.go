package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"pingline/sim/audit"
	"pingline/sim/fault"
)

// Every fault does what it says, and each ping gets its answer nonetheless.
func TestFaults(t *testing.T) {
	every, err := fault.Parse("all=0.05")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		spec  fault.Spec
		shows func(c Counters, in *ingester) bool
	}{
		{"resend", fault.Spec{fault.Resend: 0.2}, func(c Counters, _ *ingester) bool { return c.Duplicate > 0 && c.Retries == c.Faults["resend"] }},
		{"double", fault.Spec{fault.Double: 0.2}, func(c Counters, in *ingester) bool { return c.Retries == 0 && c.Requests > uint64(len(in.times))/2 }},
		{"reorder", fault.Spec{fault.Reorder: 0.2}, func(c Counters, in *ingester) bool { return c.Accepted == c.Sent && !sorted(in.order) }},
		{"offline", fault.Spec{fault.Offline: 0.2}, func(c Counters, in *ingester) bool { return c.Accepted == c.Sent && sorted(in.order) }},
		{"malformed", fault.Spec{fault.Malformed: 0.2}, func(c Counters, _ *ingester) bool {
			return c.Accepted == c.Sent && c.Refused[400] == c.Faults["malformed"]
		}},
		{"truncated", fault.Spec{fault.Truncated: 0.2}, func(c Counters, _ *ingester) bool {
			return c.Accepted == c.Sent && c.Refused[400] > 0 && c.Refused[0] > 0
		}},
		{"slow", fault.Spec{fault.Slow: 0.05}, func(c Counters, _ *ingester) bool { return c.Accepted == c.Sent && len(c.Refused) == 0 }},
		{"cut", fault.Spec{fault.Cut: 0.2}, func(c Counters, _ *ingester) bool {
			return c.Refused[0] > 0 && c.Retries == c.Faults["cut"] && c.Duplicate > 0
		}},
		{"all", every, func(c Counters, _ *ingester) bool { return len(c.Faults) == int(fault.Kinds) }},
	} {
		formats := []Format{JSON}
		if tt.name == "all" {
			formats = []Format{JSON, NDJSON, Gzip, Zstd}
		}
		for _, format := range formats {
			t.Run(tt.name+" "+string(format), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					in, transport := serve(t, nil)
					in.lenient = true
					ledger := audit.NewLedger()
					l := newLoad(t, LoadConfig{
						Phones: newCity(t, CityConfig{Riders: 100, Interval: time.Second}),
						Rate:   100, Batch: 20, Connections: 4, For: time.Minute, Grace: time.Hour, Format: format,
						Faults: tt.spec, Ledger: ledger, Transport: transport,
					})
					c := run(t, l)
					if c.Sent < 4000 || c.Unanswered+c.Forgotten+c.Skipped > 0 || ledger.Len() != int(c.Sent) {
						t.Errorf("%+v, %d in the ledger", c, ledger.Len())
					}
					if tt.name != "all" && (len(c.Faults) != 1 || c.Faults[tt.name] == 0) {
						t.Errorf("the faults were %v", c.Faults)
					}
					if !tt.shows(c, in) {
						t.Errorf("it does not show: %+v", c)
					}
				})
			})
		}
	}
}

func sorted(order map[string][]int64) bool {
	for _, at := range order {
		for i := 1; i < len(at); i++ {
			if at[i] < at[i-1] {
				return false
			}
		}
	}
	return true
}
