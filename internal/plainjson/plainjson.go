// Package plainjson writes JSON for people to read: <, > and & are not escaped, because no
// answer is embedded in an HTML page.
package plainjson

import (
	"bytes"
	"encoding/json"
)

// Marshal returns v as JSON.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Append appends v, or null if it has no form in JSON: another writer may have put such a
// number into the store.
func Append(dst []byte, v any) []byte {
	text, err := Marshal(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, text...)
}
