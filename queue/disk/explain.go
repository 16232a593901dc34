package disk

import (
	"fmt"
	"strings"
)

// Explain returns the meaning of err, an error of a disk or the embedded server,
// in words for an operator. The server gives no more than a text, so the text is
// searched.
func Explain(dir string, err error) error {
	text := err.Error()
	for words, meaning := range map[string]string{
		"no space left on device": "no space left on %s",
		"disk quota exceeded":     "no space left on %s: the quota is used up",
		"read-only file system":   "%s is on a file system that is read-only",
		"input/output error":      "the disk under %s fails: input/output error",
		"permission denied":       "%s may not be written: permission denied",
	} {
		if strings.Contains(text, words) {
			return fmt.Errorf(meaning, dir)
		}
	}
	return fmt.Errorf("the log in %s does not answer: %w", dir, err)
}
