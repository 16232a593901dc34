package auth

import (
	"bytes"
	"encoding/base64"
)

// Credentials are shown by a request to be let in. They may share its memory.
type Credentials struct {
	Secret []byte // a key or a token; nil: none
	User   []byte // name beside a password; nil: none
	Shown  bool   // the request shows something, readable or not
}

// HeaderCredentials returns those of a header Authorization: Bearer KEY, Basic with the key as
// password, or Token KEY and Token USER:KEY, as clients of InfluxDB have it.
func HeaderCredentials(authorization []byte) Credentials {
	if len(authorization) == 0 {
		return Credentials{}
	}
	scheme, rest, _ := bytes.Cut(authorization, []byte(" "))
	rest = bytes.TrimSpace(rest)
	c := Credentials{Shown: true}
	switch {
	case bytes.EqualFold(scheme, []byte("Bearer")):
		c.Secret = rest
	case bytes.EqualFold(scheme, []byte("Token")):
		c.Secret = rest
		if user, password, ok := bytes.Cut(rest, []byte(":")); ok {
			c.User, c.Secret = user, password
		}
	case bytes.EqualFold(scheme, []byte("Basic")):
		text, err := base64.StdEncoding.AppendDecode(nil, rest)
		if err != nil {
			// Overland's mode for OwnTracks sends its token and a colon as they are.
			if token, found := bytes.CutSuffix(rest, []byte(":")); found {
				c.Secret = token
			}
			break
		}
		user, password, ok := bytes.Cut(text, []byte(":"))
		if ok {
			c.User, c.Secret = user, password
		}
	}
	return c
}

// PlainCredentials returns a key that a request shows in its query or its path; an empty
// key is none.
func PlainCredentials(key []byte) Credentials {
	return Credentials{Secret: key, Shown: len(key) > 0}
}
