package sets

import (
	"fmt"
	"net/url"
)

// Unescape returns the name of an organization or a bucket as a setting has it: %20 is a space, and %2C a
// comma, which settings of several values cannot have. key is the setting, for the error.
func Unescape(key, text string) (string, error) {
	name, err := url.PathUnescape(text)
	if err != nil {
		return "", fmt.Errorf("%s: %q has a %% that is no escape: write %%25 for it, %%20 for a space, %%2C for a comma", key, text)
	}
	return name, nil
}
