package pingproto

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"pingline"
	"pingline/internal/plainjson"
)

// attributes are those of a message, at most pingline.MostAttrs, each with its value as JSON.
type attributes []attribute

type attribute struct{ name, value string }

// add reads an entry of the map. Of a name that comes twice the last value counts, and one
// without a value is null.
func (a *attributes) add(entry []byte) error {
	at := attribute{value: "null"}
	err := eachField(entry, func(n protowire.Number, is protowire.Type, b []byte) error {
		switch {
		case n != mapKey && n != mapValue:
			return nil
		case is != protowire.BytesType:
			return errAttr
		}
		v, _ := protowire.ConsumeBytes(b)
		if n == mapKey {
			at.name = string(v)
			return nil
		}
		return at.read(v)
	})
	switch {
	case err != nil:
		return err
	case !utf8.ValidString(at.name):
		return errors.New("a name that is not UTF-8")
	}
	for i := range *a {
		if (*a)[i].name == at.name {
			(*a)[i] = at
			return nil
		}
	}
	if len(*a) == pingline.MostAttrs {
		return fmt.Errorf("more than %d attributes", pingline.MostAttrs)
	}
	*a = append(*a, at)
	return nil
}

var errAttr = errors.New("another wire type than in the schema: is the message a pingline.v1.Ping?")

// eachField calls each for the fields of a message, with the bytes of their values.
func eachField(message []byte, each func(n protowire.Number, is protowire.Type, value []byte) error) error {
	for len(message) > 0 {
		n, is, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		value := message[size:]
		if size = protowire.ConsumeFieldValue(n, is, value); size < 0 {
			return protowire.ParseError(size)
		}
		if err := each(n, is, value[:size]); err != nil {
			return err
		}
		message = value[size:]
	}
	return nil
}

// valueTypes are those of the fields of a Value.
var valueTypes = [...]protowire.Type{valueInteger: protowire.VarintType, valueNumber: protowire.Fixed64Type, valueText: protowire.BytesType, valueFlag: protowire.VarintType}

// read reads a Value, of whose fields the last counts.
func (at *attribute) read(message []byte) error {
	return eachField(message, func(n protowire.Number, is protowire.Type, b []byte) error {
		if n < valueInteger || n > valueFlag {
			return nil
		}
		if is != valueTypes[n] {
			return errAttr
		}
		switch n {
		case valueInteger:
			v, _ := protowire.ConsumeVarint(b)
			at.value = strconv.FormatInt(int64(v), 10)
		case valueNumber:
			bits, _ := protowire.ConsumeFixed64(b)
			v := math.Float64frombits(bits)
			if v-v != 0 {
				return errors.New("not a finite number")
			}
			at.value = strconv.FormatFloat(v, 'g', -1, 64)
		case valueText:
			v, _ := protowire.ConsumeBytes(b)
			if !utf8.Valid(v) {
				return errors.New("a string that is not UTF-8")
			}
			at.value = string(plainjson.Append(nil, string(v)))
		default:
			v, _ := protowire.ConsumeVarint(b)
			at.value = strconv.FormatBool(v != 0)
		}
		return nil
	})
}

// appendJSON appends an object.
func (a attributes) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range a {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(plainjson.Append(dst, a[i].name), ':'), a[i].value...)
	}
	return append(dst, '}')
}
