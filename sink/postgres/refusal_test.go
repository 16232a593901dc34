package postgres

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pingline/sink/store"
)

// Each class of SQLSTATE has an answer, and the codes within it that need another.
func TestRefusalByCode(t *testing.T) {
	const retry, configure, bad = store.Retry, store.Configure, store.BadRows
	for _, tt := range []struct {
		code   string
		kind   store.Kind
		reason string
	}{
		{"00000", retry, ""}, {"01000", retry, ""}, {"02000", retry, ""}, {"03000", retry, ""},
		{"08000", retry, ""}, {"08001", retry, ""}, {"08003", retry, ""}, {"08006", retry, ""}, {"08004", configure, store.Address}, {"08P01", configure, store.Address},
		{"09000", bad, store.Other}, {"0A000", configure, store.Address}, {"0B000", retry, ""}, {"0F000", retry, ""},
		{"0L000", configure, store.Rights}, {"0P000", configure, store.Rights}, {"0Z000", retry, ""}, {"10608", retry, ""}, {"20000", retry, ""},
		{"21000", bad, store.Other},
		{"22001", bad, store.Unparsable}, {"22003", bad, store.Unparsable}, {"22008", bad, store.Unparsable}, {"22021", bad, store.Unparsable}, {"22P05", bad, store.Unparsable},
		{"23502", bad, store.Other}, {"23503", bad, store.Other}, {"23505", bad, store.Other}, {"23P01", bad, store.Other},
		{"23514", configure, store.Missing}, // without a constraint's name: no partition
		{"24000", retry, ""}, {"25000", retry, ""}, {"25006", configure, store.Address}, {"25P02", retry, ""}, {"25P03", retry, ""}, {"25P04", retry, ""}, {"26000", retry, ""},
		{"27000", bad, store.Other},
		{"28000", configure, store.Credentials}, {"28P01", configure, store.Credentials}, {"2BP01", configure, store.Rights},
		{"2D000", retry, ""}, {"2F003", bad, store.Other}, {"34000", retry, ""}, {"38000", bad, store.Other}, {"39P01", bad, store.Other}, {"3B001", retry, ""},
		{"3D000", configure, store.Missing}, {"3F000", configure, store.Missing},
		{"40001", retry, ""}, {"40P01", retry, ""}, {"40003", retry, ""},
		{"42501", configure, store.Rights}, {"42601", configure, store.Missing}, {"42703", configure, store.Missing}, {"42804", configure, store.Missing},
		{"42P01", configure, store.Missing}, {"42P10", configure, store.Missing}, {"42P07", retry, ""}, {"42710", retry, ""},
		{"44000", bad, store.Other},
		{"53000", retry, ""}, {"53100", retry, ""}, {"53200", retry, ""}, {"53300", retry, ""}, {"53400", configure, store.Limit},
		{"54000", bad, store.TooLarge}, {"54001", retry, ""}, {"54011", configure, store.Limit},
		{"55000", retry, ""}, {"55006", retry, ""}, {"55P03", retry, ""},
		{"57014", retry, ""}, {"57P01", retry, ""}, {"57P02", retry, ""}, {"57P03", retry, ""}, {"57P05", retry, ""}, {"57P04", configure, store.Missing},
		{"58000", retry, ""}, {"58030", retry, ""}, {"58P01", retry, ""}, {"72000", retry, ""}, {"F0000", configure, store.Address}, {"HV000", retry, ""},
		{"P0001", bad, store.Other}, {"XX000", retry, ""}, {"XX001", retry, ""}, {"XX002", retry, ""},
		{"99999", retry, ""}, {"", retry, ""}, {"4", retry, ""},
	} {
		r := refusal(fmt.Errorf("write: %w", &pgconn.PgError{Severity: "ERROR", Message: "no", Code: tt.code, Detail: "Failing row contains (secret)"}))
		if r.Kind != tt.kind || r.Reason != tt.reason || (r.Kind == configure) != (r.Advice != "") {
			t.Errorf("%s: %v for %q, advice %q; want %v for %q", tt.code, r.Kind, r.Reason, r.Advice, tt.kind, tt.reason)
		}
		if errors.As(r.Err, new(*pgconn.PgError)) {
			t.Errorf("%s: the refusal carries the server's detail", tt.code)
		}
	}
	if r := refusal(&pgconn.PgError{Code: "23514", ConstraintName: "calm"}); r.Kind != bad {
		t.Errorf("a check: %+v", r)
	}
	if r := refusal(errors.New("connection\n\trefused")); r.Kind != retry || r.Error() != "connection refused" {
		t.Errorf("%+v", r)
	}
}
