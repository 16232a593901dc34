package command

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// RequestHeader is sent with each request, written NAME: VALUE. Its value may be a secret:
// no error quotes it.
type RequestHeader struct{ Name, Value string }

// UnmarshalText reads NAME: VALUE.
func (h *RequestHeader) UnmarshalText(text []byte) error {
	name, value, ok := strings.Cut(string(text), ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" || strings.ContainsAny(name, " \t\r\n") || strings.ContainsAny(value, "\r\n\x00") {
		return errors.New("not NAME: VALUE")
	}
	h.Name, h.Value = http.CanonicalHeaderKey(name), value
	return nil
}

// CheckTarget returns an error that names --target if it is not a URL of HTTP.
func CheckTarget(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--target: %q is not a URL such as http://localhost:8080", target)
	}
	return nil
}
