// Package fields finds fields in lines of InfluxDB's line protocol, and takes some out.
//
// It knows lines as Pingline writes them: in a tag a backslash does nothing but escape the byte
// behind it. A line of another form is left as it is.
package fields

import "bytes"

// Has reports whether a line has a field of that name.
func Has(line []byte, name string) bool {
	for rest := line[begin(line):]; ; {
		field, end := first(rest)
		if end == 0 || string(field) == name {
			return end > 0
		}
		if end == len(rest) || rest[end] != ',' {
			return false
		}
		rest = rest[end+1:]
	}
}

// Without returns lines without the fields for which drop, which is given a name and a value as
// they stand there, is true. A line of which no field would be left keeps all.
func Without(lines []byte, drop func(name, value []byte) bool) []byte {
	less := make([]byte, 0, len(lines))
	for line := range bytes.Lines(lines) {
		less = appendWithout(less, line, drop)
	}
	return less
}

func appendWithout(dst, line []byte, drop func(name, value []byte) bool) []byte {
	start, at := len(dst), begin(line)
	dst = append(dst, line[:at]...)
	kept := 0
	for rest := line[at:]; ; rest = rest[1:] {
		name, end := first(rest)
		if end == 0 {
			break
		}
		if !drop(name, rest[len(name)+1:end]) {
			if kept++; kept > 1 {
				dst = append(dst, ',')
			}
			dst = append(dst, rest[:end]...)
		}
		if rest = rest[end:]; len(rest) > 0 && rest[0] == ',' {
			continue
		}
		if kept == 0 {
			break
		}
		return append(dst, rest...)
	}
	return append(dst[:start], line...)
}

// Fewer returns in how many of the same lines there is less than before.
func Fewer(before, after []byte) (n int) {
	for line := range bytes.Lines(before) {
		same := after[:bytes.IndexByte(after, '\n')+1]
		if after = after[len(same):]; len(same) < len(line) && len(same) > 0 {
			n++
		}
	}
	return n
}

// TypeOf returns the type of a field's value in InfluxDB's words.
func TypeOf(value []byte) string {
	switch last := value[len(value)-1]; {
	case value[0] == '"':
		return "string"
	case value[0]|0x20 == 't', value[0]|0x20 == 'f':
		return "boolean"
	case last == 'i':
		return "integer"
	case last == 'u':
		return "unsigned"
	}
	return "float"
}

// begin returns where the fields of a line begin, behind the first space that is not escaped.
func begin(line []byte) int {
	for i, c := range line {
		if c == ' ' && i > 0 && line[i-1] != '\\' {
			return i + 1
		}
	}
	return len(line)
}

// first returns the name of the first of fields, and where its value ends: 0 if there is none.
func first(fields []byte) (name []byte, end int) {
	i := 0
	for ; i < len(fields) && fields[i] != '='; i++ {
		switch fields[i] {
		case '\\':
			i++
		case ',', ' ', '\n':
			return nil, 0
		}
	}
	if i == 0 || i+1 >= len(fields) {
		return nil, 0
	}
	name, i = fields[:i], i+1
	if fields[i] != '"' {
		n := bytes.IndexAny(fields[i:], ", \n")
		if n < 0 {
			n = len(fields) - i
		}
		if n == 0 {
			return nil, 0
		}
		return name, i + n
	}
	for i++; i < len(fields); i++ {
		switch fields[i] {
		case '\\':
			i++
		case '"':
			if i++; i < len(fields) && bytes.IndexByte([]byte(", \n"), fields[i]) < 0 {
				return nil, 0
			}
			return name, i
		}
	}
	return nil, 0
}
