package clickhouse

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// The codes of ClickHouse, and how a write goes on after each. Answers with displayText
// are those of 18.16, the others of newer servers.
func TestCodesOfClickHouse(t *testing.T) {
	for _, tt := range []struct {
		status int
		text   string
		want   store.Refusal
	}{
		{401, "Code: 193, e.displayText() = DB::Exception: Wrong password for user pingline, e.what() = DB::Exception", store.Refusal{Kind: store.Configure, Reason: store.Credentials}},
		{500, "Code: 192, e.displayText() = DB::Exception: Unknown user x, e.what() = DB::Exception", store.Refusal{Kind: store.Configure, Reason: store.Credentials}},
		{401, "Code: 194, e.displayText() = DB::Exception: Password required", store.Refusal{Kind: store.Configure, Reason: store.Credentials}},
		{403, "Code: 516. DB::Exception: x: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)", store.Refusal{Kind: store.Configure, Reason: store.Credentials}},
		{401, "", store.Refusal{Kind: store.Configure, Reason: store.Credentials}},
		{500, "Code: 164, e.displayText() = DB::Exception: Cannot insert into table in readonly mode", store.Refusal{Kind: store.Configure, Reason: store.Rights}},
		{500, "Code: 497. DB::Exception: x: Not enough privileges. (ACCESS_DENIED)", store.Refusal{Kind: store.Configure, Reason: store.Rights}},
		{404, "Code: 81, e.displayText() = DB::Exception: Database nope doesn't exist", store.Refusal{Kind: store.Configure, Reason: store.Missing}},
		{404, "Code: 60, e.displayText() = DB::Exception: Table default.nope doesn't exist.", store.Refusal{Kind: store.Configure, Reason: store.Missing}},
		{500, "Code: 16, e.displayText() = DB::Exception: No such column nots in table k", store.Refusal{Kind: store.Configure, Reason: store.Missing}},
		{500, "Code: 53. DB::Exception: Type mismatch. (TYPE_MISMATCH)", store.Refusal{Kind: store.Configure, Reason: store.Missing}},
		{500, "Code: 368, e.displayText() = DB::Exception: Bad cast from type DB::ColumnString", store.Refusal{Kind: store.Configure, Reason: store.Missing}},
		{500, "Code: 469. DB::Exception: Constraint `c` for table pl.pings is violated at row 3. Expression: (event = ''). (VIOLATED_CONSTRAINT)",
			store.Refusal{Kind: store.BadRows, Reason: store.Other, Suspects: []int{2}}},
		{500, "Code: 469. DB::Exception: Constraint `c` is violated at row 99999", store.Refusal{Kind: store.BadRows, Reason: store.Other}},
		{500, "Code: 395, e.displayText() = DB::Exception: Value passed to 'throwIf' function is non zero", store.Refusal{Kind: store.BadRows, Reason: store.Other}},
		{500, "Code: 691. DB::Exception: Unknown element 'sos' for enum. (UNKNOWN_ELEMENT_OF_ENUM)", store.Refusal{Kind: store.BadRows, Reason: store.TypeConflict}},
		{500, "Code: 36, e.displayText() = DB::Exception: Unknown element 'sos' for type Enum8", store.Refusal{Kind: store.BadRows, Reason: store.TypeConflict}},
		{500, "Code: 36, e.displayText() = DB::Exception: Bad argument", store.Refusal{Kind: store.Retry}},
		{500, "Code: 72, e.displayText() = DB::Exception: Cannot parse number", store.Refusal{Kind: store.BadRows, Reason: store.TypeConflict}},
		{500, "Code: 131. DB::Exception: Too large string size", store.Refusal{Kind: store.BadRows, Reason: store.TooLarge}},
		{413, "", store.Refusal{Kind: store.BadRows, Reason: store.TooLarge}},
		{500, "Code: 252, e.displayText() = DB::Exception: Too many parts (300). Merges are processing significantly slower than inserts.", store.Refusal{Kind: store.Retry, Busy: true}},
		{500, "Code: 202, e.displayText() = DB::Exception: Too many simultaneous queries. Maximum: 100", store.Refusal{Kind: store.Retry, Busy: true}},
		{500, "Code: 201. DB::Exception: Quota for user has been exceeded", store.Refusal{Kind: store.Retry, Busy: true}},
		{429, "", store.Refusal{Kind: store.Retry, Busy: true}},
		{500, "Code: 241, e.displayText() = DB::Exception: Memory limit (for query) exceeded", store.Refusal{Kind: store.Retry}},
		{500, "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space", store.Refusal{Kind: store.Retry}},
		{500, "Code: 159. DB::Exception: Timeout exceeded", store.Refusal{Kind: store.Retry}},
		{500, "Code: 209. DB::NetException: Timeout exceeded while reading from socket", store.Refusal{Kind: store.Retry}},
		{500, "Code: 242. DB::Exception: Table is in readonly mode", store.Refusal{Kind: store.Retry}},
		{500, "Code: 999. Coordination::Exception: Connection loss", store.Refusal{Kind: store.Retry}},
		{404, "Code: 115, e.displayText() = DB::Exception: Unknown setting param_x", store.Refusal{Kind: store.Retry}},
		{500, "Code: 98765. DB::Exception: of a year to come", store.Refusal{Kind: store.Retry}},
		{502, "<html>bad gateway, not Code: 60, of a proxy", store.Refusal{Kind: store.Retry}},
		{404, "404 page not found", store.Refusal{Kind: store.Configure, Reason: store.Address}},
		{302, "redirects to https://elsewhere", store.Refusal{Kind: store.Configure, Reason: store.Address}},
	} {
		r := refusal(fmt.Errorf("a write: %w", newFault(tt.status, tt.text, "")), 10)
		if r.Kind != tt.want.Kind || r.Reason != tt.want.Reason || r.Busy != tt.want.Busy || !slices.Equal(r.Suspects, tt.want.Suspects) || r.All {
			t.Errorf("%d %s:\n%+v, want\n%+v", tt.status, tt.text, r, tt.want)
		}
		if (r.Kind == store.Configure) != (r.Advice != "") {
			t.Errorf("%s: advice %q", tt.text, r.Advice)
		}
	}
	if r := refusal(errors.New("connection refused"), 1); r.Kind != store.Retry || r.Busy {
		t.Errorf("of no answer: %+v", r)
	}
	seen := make(map[string]bool)
	for _, m := range meanings {
		for _, c := range m.codes {
			key := fmt.Sprint(c, m.textContains)
			if seen[key] {
				t.Errorf("code %d has two meanings", c)
			}
			seen[key] = true
		}
	}
}

// A literal is a word between quotes, or hex digits: whatever the text, nothing ends it.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"", "a", `'`, `\`, `\'`, "'; DROP TABLE pings; --", "\x00", "Zoë", "🚕", "a\nb", "`", "{x:String}"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`^('[A-Za-z0-9_\-.: @]*'|unhex\('([0-9a-f]{2})+'\))$`)
	f.Fuzz(func(t *testing.T, s string) {
		got := literal(s)
		if !form.MatchString(got) || strings.HasPrefix(got, "'") && got != "'"+s+"'" {
			t.Errorf("literal(%q) = %s", s, got)
		}
		if strings.HasPrefix(got, "unhex") && got != fmt.Sprintf("unhex('%x')", s) {
			t.Errorf("literal(%q) = %s", s, got)
		}
	})
}

// Rows that are cut short are refused, not read beyond their end.
func FuzzRows(f *testing.F) {
	f.Add(appendRow(nil, &pingline.Entry{Ping: pingline.Ping{Rider: "r", Device: "d", Event: "e", Trip: "t"}}))
	f.Add(appendRow(nil, &pingline.Entry{Kind: pingline.Self, Line: "a b=1 1"}))
	f.Add(appendRow(nil, &pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", Fields: []pingline.PointField{pingline.Int("a", 1), pingline.Bool("b", true)}}}))
	for _, e := range storetest.Dressed(f, 1)[:15] {
		f.Add(appendRow(nil, &e))
	}
	f.Fuzz(func(t *testing.T, rows []byte) {
		b := newBlock()
		if err := b.fill(rows, 1); err != nil {
			return
		}
		if _, err := b.encode(b.pings.columns(false)); err != nil {
			t.Error(err)
		}
		if _, err := b.encode(b.points.columns()); err != nil {
			t.Error(err)
		}
	})
}

// Old servers are not given words that they do not know.
func TestSchemaOfAVersion(t *testing.T) {
	for version, words := range map[string][]string{
		"18.16.1": {"", "CODEC", "fsync", "deduplication", "TTL"},
		"20.3":    {"CODEC", "fsync", "deduplication"},
		"24.8.1":  {"CODEC fsync_after_insert non_replicated_deduplication_window"},
		"":        {"CODEC fsync_after_insert non_replicated_deduplication_window"},
		"x":       {"", "CODEC"},
	} {
		text := strings.Join(Schema(OptionsOf(version)), ";\n")
		for _, w := range strings.Fields(words[0]) {
			if !strings.Contains(text, w) {
				t.Errorf("%q has no %s", version, w)
			}
		}
		for _, w := range words[1:] {
			if strings.Contains(text, w) {
				t.Errorf("%q has %s", version, w)
			}
		}
	}
	if text := Schema(Options{Codecs: true, Keep: 3600e9})[0]; !strings.Contains(text, "\nTTL toDateTime(intDiv(ts, 1000), 'UTC') + toIntervalSecond(3600)\n") {
		t.Error(text)
	}
}
