package auth

import (
	"fmt"
	"strings"
)

// Scope is a set of rights.
type Scope uint8

// The rights.
const (
	Write Scope = 1 << iota // send pings
	Read                    // ask for pings, and for all that is made of them
	Admin                   // Read, remove riders, and ask how the process does

	allScopes = Write | Read | Admin
)

var scopeNames = []struct {
	scope Scope
	name  string
}{{Write, "write"}, {Read, "read"}, {Admin, "admin"}}

// Has reports whether s has all rights of other.
func (s Scope) Has(other Scope) bool {
	if s&Admin != 0 {
		s |= Read
	}
	return s&other == other
}

func (s Scope) String() string {
	var names []string
	for _, n := range scopeNames {
		if s&n.scope != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// MarshalText writes a set as String does.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads names with commas between.
func (s *Scope) UnmarshalText(text []byte) error {
	*s = 0
	for name := range strings.SplitSeq(string(text), ",") {
		one, err := ScopeOf(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		*s |= one
	}
	return nil
}

// ScopeOf returns the right of a name.
func ScopeOf(name string) (Scope, error) {
	for _, n := range scopeNames {
		if n.name == name {
			return n.scope, nil
		}
	}
	return 0, fmt.Errorf("%q is not write, read or admin", name)
}
