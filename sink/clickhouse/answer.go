package clickhouse

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"pingline/sink/store"
)

// saidError is an answer of ClickHouse that is not success, or a fault that was found
// before it was asked.
type saidError struct {
	kind   store.Kind
	status int // of HTTP; 0 if there was no answer
	code   int // of ClickHouse; 0 if it named none
	text   string
	err    error // cause, if there was no answer

	stop, advice string // of Configure
	reason       string // of BadRows
	suspects     []int  // of BadRows
	busy         bool   // of Retry
}

func (e *saidError) Error() string {
	if e.status == 0 || e.status == http.StatusOK {
		return e.text
	}
	return fmt.Sprintf("status %d: %s", e.status, e.text)
}

func (e *saidError) Unwrap() error { return e.err }

// codeUnknownSetting is the code of a server that does not know a setting.
const codeUnknownSetting = 115

// meaning is how to go on after an error of a code.
type meaning struct {
	kind         store.Kind
	label        string // reason of Configure or of BadRows
	advice       string
	busy         bool
	codes        []int
	textContains string // only if the text has it
}

const (
	adviceLogin  = "check the user in the url and the password in the token file, which is read again for each write"
	adviceRights = "let the user SELECT from and INSERT into the tables, and CREATE them or create them yourself"
	adviceTables = "run the statements that pingline schema clickhouse prints, or rename the table that does not fit: Pingline alters no table"
)

// meanings is the table of ClickHouse's codes (src/Common/ErrorCodes.cpp). A code that
// is not here means Retry: nothing is lost by it.
var meanings = []meaning{
	{kind: store.Configure, label: store.Credentials, advice: adviceLogin, codes: []int{
		192, 193, 194, // UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD
		516, // AUTHENTICATION_FAILED
	}},
	{kind: store.Configure, label: store.Rights, advice: adviceRights, codes: []int{
		164, 195, 291, 392, // READONLY, IP_ADDRESS_NOT_ALLOWED, DATABASE_ACCESS_DENIED, QUERY_IS_PROHIBITED
		452, 497, // SETTING_CONSTRAINT_VIOLATION, ACCESS_DENIED
	}},
	{kind: store.Configure, label: store.Missing, advice: adviceTables, codes: []int{
		60, 81, 218, // UNKNOWN_TABLE, UNKNOWN_DATABASE, TABLE_IS_DROPPED
		8, 10, 16, 47, // THERE_IS_NO_COLUMN, NOT_FOUND_COLUMN_IN_BLOCK, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER
		20, 44, 48, 50, 53, // NUMBER_OF_COLUMNS_DOESNT_MATCH, ILLEGAL_COLUMN, NOT_IMPLEMENTED, UNKNOWN_TYPE, TYPE_MISMATCH
		368, // BAD_TYPEID: 18.16 of a column of another type
	}},
	{kind: store.BadRows, label: store.Other, codes: []int{
		395, 469, 349, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO in a column's default, VIOLATED_CONSTRAINT, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	}},
	{kind: store.BadRows, label: store.TypeConflict, codes: []int{
		6, 26, 27, 38, 41, 72, // CANNOT_PARSE_TEXT, …_QUOTED_STRING, …_INPUT_ASSERTION_FAILED, …_DATE, …_DATETIME, …_NUMBER
		69, 70, 691, // ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, UNKNOWN_ELEMENT_OF_ENUM
	}},
	{kind: store.BadRows, label: store.TypeConflict, textContains: "Unknown element", codes: []int{
		36, 49, // BAD_ARGUMENTS, LOGICAL_ERROR: an Enum before it had a code of its own
	}},
	{kind: store.BadRows, label: store.TooLarge, codes: []int{131}}, // TOO_LARGE_STRING_SIZE
	{kind: store.Retry, busy: true, codes: []int{
		201, 202, 252, 439, 745, // QUOTA_EXCEEDED, TOO_MANY_SIMULTANEOUS_QUERIES, TOO_MANY_PARTS, CANNOT_SCHEDULE_TASK, SERVER_OVERLOADED
	}},
	{kind: store.Retry, codes: []int{
		3, 33, 271, // UNEXPECTED_END_OF_FILE, CANNOT_READ_ALL_DATA, CANNOT_DECOMPRESS: a body was cut short
		159, 160, 198, 209, 210, // TIMEOUT_EXCEEDED, TOO_SLOW, DNS_ERROR, SOCKET_TIMEOUT, NETWORK_ERROR
		203, 225, 242, 285, 319, 999, // NO_FREE_CONNECTION, NO_ZOOKEEPER, TABLE_IS_READ_ONLY, TOO_FEW_LIVE_REPLICAS, UNKNOWN_STATUS_OF_INSERT, KEEPER_EXCEPTION
		241, 243, // MEMORY_LIMIT_EXCEEDED, NOT_ENOUGH_SPACE
		codeUnknownSetting,
	}},
}

var (
	codeOf    = regexp.MustCompile(`(?:^|\n)Code: (\d+)[.,]`)
	violation = regexp.MustCompile(`is violated at row (\d+)`)
)

// maxAnswer bounds the bytes of a short answer.
const maxAnswer = 64 << 10

// readFault turns an answer that is not success into an error. It reads the body but does
// not close it. The password is taken out of it, since a proxy may quote a request.
func readFault(resp *http.Response, password string) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // half a message is better than none
	text := strings.TrimSpace(string(body))
	switch to := resp.Header.Get("Location"); {
	case to != "":
		text = "redirects to " + to
	case text == "":
		text = http.StatusText(resp.StatusCode)
	}
	return newFault(resp.StatusCode, text, password)
}

// leastSecret is the length from which on a password is taken out of a text; a shorter
// one is likely to be a word of it.
const leastSecret = 6

func newFault(status int, text, password string) *saidError {
	if len(password) >= leastSecret {
		text = strings.ReplaceAll(text, password, "…")
	}
	e := &saidError{status: status, kind: store.Retry, text: store.Clip(strings.TrimSpace(text))}
	if m := codeOf.FindStringSubmatch(e.text); m != nil {
		e.code, _ = strconv.Atoi(m[1]) // its digits are few, or it is no code of ours
		e.byCode()
		return e
	}
	e.byStatus()
	return e
}

func (e *saidError) byCode() {
	for i := range meanings {
		m := &meanings[i]
		for _, c := range m.codes {
			if c != e.code || !strings.Contains(e.text, m.textContains) {
				continue
			}
			e.kind, e.busy, e.advice = m.kind, m.busy, m.advice
			switch m.kind {
			case store.Configure:
				e.stop = m.label
			case store.BadRows:
				e.reason = m.label
			}
		}
	}
	if v := violation.FindStringSubmatch(e.text); v != nil && e.kind == store.BadRows {
		if row, err := strconv.Atoi(v[1]); err == nil && row > 0 {
			e.suspects = []int{row - 1}
		}
	}
}

// byStatus judges an answer in which ClickHouse named no code: it may come from a proxy.
func (e *saidError) byStatus() {
	switch {
	case e.status == http.StatusUnauthorized, e.status == http.StatusForbidden:
		e.kind, e.stop, e.advice = store.Configure, store.Credentials, adviceLogin
	case e.status == http.StatusTooManyRequests:
		e.busy = true
	case e.status == http.StatusRequestEntityTooLarge:
		e.kind, e.reason = store.BadRows, store.TooLarge
	case e.status == http.StatusRequestTimeout, e.status == http.StatusTooEarly, e.status >= http.StatusInternalServerError, e.status == http.StatusOK:
	default:
		e.kind, e.stop, e.advice = store.Configure, store.Address, "check the url: it names the port of ClickHouse's HTTP interface, 8123, or 8443 with TLS"
	}
}

// explain turns an error of a request that was not answered into one for an operator, if
// a certificate is the cause.
func explain(err error) error {
	said, asked := new(saidError), new(url.Error)
	if errors.As(err, &asked) {
		err = asked.Err // without the URL, in which the whole statement stands
	}
	switch {
	case errors.As(err, &said):
		return said
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return &saidError{kind: store.Configure, stop: store.Address, text: err.Error(), err: err, advice: "name the authority of its certificate with ca-file, or in SSL_CERT_FILE"}
	case errors.As(err, new(tls.RecordHeaderError)), errors.Is(err, http.ErrSchemeMismatch):
		return &saidError{kind: store.Configure, stop: store.Address, text: err.Error(), err: err, advice: "the port speaks no TLS: write clickhouse:// for clickhouses://, or name the port that does"}
	case strings.Contains(err.Error(), "remote error: tls: "):
		return &saidError{kind: store.Configure, stop: store.Credentials, text: err.Error(), err: err, advice: "give a certificate that the server accepts with cert-file and key-file"}
	}
	return err
}

// refusal turns an error of a write of n rows into a store.Refusal.
func refusal(err error, n int) *store.Refusal {
	said := new(saidError)
	if !errors.As(err, &said) {
		return &store.Refusal{Kind: store.Retry, Err: errors.New(store.Clip(err.Error()))}
	}
	r := &store.Refusal{Kind: said.kind, Busy: said.busy, Err: said}
	switch said.kind {
	case store.Configure:
		r.Reason, r.Advice = said.stop, said.advice
	case store.BadRows:
		r.Reason = said.reason
		for _, i := range said.suspects {
			if i < n {
				r.Suspects = append(r.Suspects, i)
			}
		}
		r.All = len(r.Suspects) == n && n > 0
	}
	return r
}
