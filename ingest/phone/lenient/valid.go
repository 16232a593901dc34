package lenient

// deepest is the most levels of arrays and objects in a body. Apps have six at most.
const deepest = 64

// wrong is why a body is not read.
type wrong int

const (
	nothingWrong wrong = iota
	notJSON
	tooDeep
)

// checkJSON reports whether b is one value of JSON as json.Valid has it, and not too deep. It is
// several times as fast, because it calls no function for each byte: a body is otherwise read
// as quickly as it is checked.
func checkJSON(b []byte) wrong {
	var objects uint64 // bit n: level n is an object
	level := 0
	var isObject bool // the level is one
	i := 0
value:
	i = blank(b, i)
	if i == len(b) {
		return notJSON
	}
	switch c := b[i]; c {
	case '{', '[':
		if level == deepest {
			return tooDeep
		}
		end := byte(']')
		objects &^= 1 << level
		if c == '{' {
			end = '}'
			objects |= 1 << level
		}
		level++
		if i = blank(b, i+1); i < len(b) && b[i] == end {
			i++
			level--
			goto after
		}
		if c == '{' {
			goto key
		}
		goto value
	case '"':
		i = behindText(b, i+1)
	case 't':
		i = behindWord(b, i, "true")
	case 'f':
		i = behindWord(b, i, "false")
	case 'n':
		i = behindWord(b, i, "null")
	default:
		i = behindNumber(b, i)
	}
	if i < 0 {
		return notJSON
	}
after:
	i = blank(b, i)
	switch {
	case level == 0 && i == len(b):
		return nothingWrong
	case level == 0 || i == len(b):
		return notJSON
	}
	isObject = objects&(1<<(level-1)) != 0
	switch c := b[i]; {
	case c == ',' && isObject:
		i = blank(b, i+1)
		goto key
	case c == ',':
		i++
		goto value
	case c == '}' && isObject, c == ']' && !isObject:
		i++
		level--
		goto after
	}
	return notJSON
key:
	if i == len(b) || b[i] != '"' {
		return notJSON
	}
	if i = behindText(b, i+1); i < 0 {
		return notJSON
	}
	if i = blank(b, i); i == len(b) || b[i] != ':' {
		return notJSON
	}
	i++
	goto value
}

// blank returns where the white space from i on ends.
func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// behindWord returns the place behind a word, or -1.
func behindWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// behindText returns the place behind the quote that ends a text, or -1.
func behindText(b []byte, i int) int {
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c != '\\':
			i++
			continue
		}
		if i++; i == len(b) {
			return -1
		}
		switch b[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i++
		case 'u':
			if len(b)-i < 5 || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
				return -1
			}
			i += 5
		default:
			return -1
		}
	}
	return -1
}

// behindNumber returns the place behind a number, or -1.
func behindNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := i
	if i = behindDigits(b, i); i == whole || b[whole] == '0' && i > whole+1 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		fraction := i + 1
		if i = behindDigits(b, fraction); i == fraction {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exponent := i
		if i = behindDigits(b, exponent); i == exponent {
			return -1
		}
	}
	return i
}

func behindDigits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	return i
}
