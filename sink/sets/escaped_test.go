package sets_test

import (
	"strings"
	"testing"

	"pingline/sink/sets"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{"city": "city", "the%20city": "the city", "a%2Cb%3Dc": "a,b=c", "a+b": "a+b", "50%25": "50%", "": ""} {
		if got, err := sets.Unescape("org", text); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"50%", "%zz", "a%2"} {
		if got, err := sets.Unescape("org", text); err == nil || !strings.HasPrefix(err.Error(), "org: ") || !strings.Contains(err.Error(), "%25") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}
