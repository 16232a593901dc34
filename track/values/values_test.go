package values

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pingline"
)

// all reads a document to its end: each element as key, line and text, and the last error.
func all(document string) (found []string, refused int, err error) {
	l := NewLists(bufio.NewReader(strings.NewReader(document)), []string{"a", "b"}, []string{"own", "self"})
	for {
		key, text, line, err := l.Next()
		switch {
		case errors.Is(err, pingline.ErrInvalid):
			refused++
			found = append(found, "refused")
		case err != nil:
			return found, refused, err
		default:
			found = append(found, key+string(rune('0'+line))+string(text))
		}
	}
}

func TestElementsOfLists(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		want           []string
	}{
		{"two lists", `{"x":[1,{"a":[2]}],"a":[3,"}]"],"y":"]","b":[{"a":[4]}]}`, []string{`a13`, `a1"}]"`, `b1{"a":[4]}`}},
		{"lines", "{\n\"a\"\n:\n[\n1\n,\n{\n\n},\n3]}", []string{"a51", "a7{\n\n}", "a:3"}},
		{"a list that is the document", "[1, true,\tnull , -2.5e3\n]", []string{"11", "1true", "1null", "1-2.5e3"}},
		{"several documents", "{\"a\":[1]}\n[2]{\"b\":[3]}", []string{"a11", "22", "b23"}},
		{"members of their own", `{"own":{"k":[1]},"a":[2],"z":{},"self":3}`, []string{"a12", `1{"own":{"k":[1]},"self":3}`}},
		{"empty", " \n", nil},
		{"empty lists", `{"a":[],"b":[ ]}[]{}`, nil},
		{"a wanted key that has no list", `{"a":{"b":[1]},"b":2}`, nil},
		{"escapes in a key", `{"\u0061":["\"\\"]}`, []string{`a1"\"\\"`}},
		{"a bad element", `{"a":[1,tru,{"x"},2]}`, []string{"a11", "refused", "refused", "a12"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, err := all(tt.document); !slices.Equal(got, tt.want) || err != io.EOF {
				t.Errorf("read %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestDocumentsThatBreakOff(t *testing.T) {
	for _, document := range []string{`{`, `{"a"`, `{"a":`, `{"a":[`, `{"a":[1`, `{"a":["x`, `{"a":["\`, `{"x":{`, `[`, `[1,`, `{"own":`} {
		if _, _, err := all(document); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", document, err)
		}
	}
	for document, want := range map[string]string{`7`: "where an object or a list should begin", `{"a" 1}`: `no value behind the key "a"`, `{"a":}`: `no value behind the key "a"`, `]`: "should begin", `[}0`: "where an element of a list should begin", `[1:2]`: "where an element of a list should begin"} {
		if _, _, err := all(document); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", document, err, want)
		}
	}
}

// What is too long is passed over and takes no memory.
func TestLongValuesArePassedOver(t *testing.T) {
	long := `{"` + strings.Repeat("k", 2*maxKey) + `":1,"x":"` + strings.Repeat("x", 1<<20) + `","a":[` + strings.Repeat(" ", 1<<20) + `1]}`
	l := NewLists(bufio.NewReader(strings.NewReader(long)), []string{"a"}, nil)
	key, text, _, err := l.Next()
	if key != "a" || string(text) != "1" || err != nil {
		t.Errorf("read %q %q, %v", key, text, err)
	}
	if cap(l.text) > 4*maxKey {
		t.Errorf("%d bytes are held", cap(l.text))
	}
}

func TestPartsOfAValue(t *testing.T) {
	var got []string
	for key, value := range Members([]byte(" { \"k\" : [1, {\"x\":2}] , \"l\":\"v\" }")) {
		got = append(got, string(key)+"="+string(value))
	}
	if want := []string{`k=[1, {"x":2}]`, `l="v"`}; !slices.Equal(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}
	got = nil
	for rest := Opened([]byte(` [ 1 , [2,3],"a,b" ]`)); ; {
		text, after, ok := Element(rest)
		if !ok {
			break
		}
		got, rest = append(got, string(text)), after
	}
	if want := []string{"1", "[2,3]", `"a,b"`}; !slices.Equal(got, want) {
		t.Errorf("elements %q, want %q", got, want)
	}
	if Opened([]byte(`{}`)) != nil || Opened(nil) != nil {
		t.Error("no list was opened")
	}
	for value, want := range map[string]string{`"a\u0062"`: "ab", `-1.5`: "-1.5", `true`: "", `null`: "", `{}`: "", ``: ""} {
		if got := Text([]byte(value)); string(got) != want {
			t.Errorf("text of %s is %q, want %q", value, got, want)
		}
	}
}

// FuzzLists holds Lists against encoding/json: what is valid has the same elements.
func FuzzLists(f *testing.F) {
	f.Add([]byte(`{"x":1,"a":[1,{"b":[2]},"\"]"],"b":[null]}`))
	f.Add([]byte(`[1,2]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := NewLists(bufio.NewReader(bytes.NewReader(data)), []string{"a"}, nil)
		var found []json.RawMessage
		for range len(data) + 2 {
			_, text, line, err := l.Next()
			if err == nil {
				if !json.Valid(text) || line < 1 {
					t.Fatalf("line %d: %q", line, text)
				}
				found = append(found, bytes.Clone(text))
			} else if !errors.Is(err, pingline.ErrInvalid) {
				found = append(found, nil)
				break
			}
		}
		if len(found) == 0 || found[len(found)-1] != nil {
			t.Fatalf("%q has more elements than bytes", data)
		}
		var want []json.RawMessage
		if json.Unmarshal(data, &want) != nil || len(bytes.TrimSpace(data)) == 0 || bytes.TrimSpace(data)[0] != '[' {
			return
		}
		if len(found) != len(want)+1 {
			t.Fatalf("%q: %d elements, want %d", data, len(found)-1, len(want))
		}
	})
}
