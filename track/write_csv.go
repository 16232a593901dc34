package track

import (
	"bufio"
	"encoding/csv"
	"strconv"

	"pingline"
)

// csvEncoder writes a table with the fields of POST /v1/pings, and a column late, which
// is true or empty. An unknown value is empty.
type csvEncoder struct {
	csv *csv.Writer
	row []string
	num []byte
}

func (e *csvEncoder) begin(w *bufio.Writer) {
	e.csv = csv.NewWriter(w)
	for f := rider; f < fields; f++ {
		e.row = append(e.row, f.String())
	}
	e.row = append(e.row, "late")
	_ = e.csv.Write(e.row) // w remembers the error
	e.csv.Flush()
}

func (e *csvEncoder) ping(_ *bufio.Writer, p *pingline.Ping, late bool) {
	clear(e.row)
	e.row[rider], e.row[device], e.row[event], e.row[trip] = p.Rider, p.Device, p.Event, p.Trip
	e.row[ts] = strconv.FormatInt(p.At, 10)
	e.row[lat] = e.fixed(p.LatE7)
	e.row[lon] = e.fixed(p.LonE7)
	for i, v := range p.Numbers() {
		if p.Known&(1<<i) != 0 {
			e.num = appendNumber(e.num[:0], v)
			e.row[number+field(i)] = string(e.num)
		}
	}
	if late {
		e.row[fields] = "true"
	}
	_ = e.csv.Write(e.row)
	e.csv.Flush()
}

func (e *csvEncoder) fixed(v int32) string {
	e.num = appendFixed(e.num[:0], int64(v), 7)
	return string(e.num)
}

func (e *csvEncoder) end(*bufio.Writer) {}
