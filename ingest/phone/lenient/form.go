package lenient

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"pingline/ingest/phone"
)

// IsJSON reports whether a body is JSON, by its first byte: apps do not say so by a
// Content-Type that could be trusted.
func IsJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// Parameters calls f for each parameter of a query or a form, in order, unescaped. One that
// cannot be unescaped is given as it is.
func Parameters(text string, f func(key, value string)) {
	for pair := range strings.SplitSeq(text, "&") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		f(unescaped(key), unescaped(value))
	}
}

// mostParameters is the most parameters of a body. Apps send about thirty, and one for each cell
// and access point in reach.
const mostParameters = 1000

// Form calls f for each parameter of the query of a request, and then for each of its body,
// if that is no JSON: the last value of a parameter counts. The error of a body of more than
// mostParameters wraps phone.ErrMalformed, and f is not called for any of its.
func Form(query string, body []byte, f func(key, value string)) error {
	Parameters(query, f)
	if IsJSON(body) || !utf8.Valid(body) {
		return nil
	}
	if bytes.Count(body, []byte("&")) > mostParameters {
		return &phone.Error{Kind: phone.ErrMalformed, Text: fmt.Sprintf("the body is a form of more than %d parameters", mostParameters)}
	}
	Parameters(string(body), f)
	return nil
}

// escapes reports whether a text has escapes, all of them valid: the error of one that is not
// costs more than to look.
func escapes(text string) (has bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '+':
			has = true
		case '%':
			if i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2]) {
				return false
			}
			has = true
			i += 2
		}
	}
	return has
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unescaped(text string) string {
	if !escapes(text) {
		return text
	}
	if got, err := url.QueryUnescape(text); err == nil {
		return got
	}
	return text
}
