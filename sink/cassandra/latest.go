package cassandra

import (
	"encoding/binary"

	"pingline"
)

// addLatest adds the newest ping of each device in r to what is written into the table latest.
// Its row has the time of the ping as its time of writing, so that of two rows the one of the
// later ping stays, whichever was written last. A ping beside another of its instant is left out.
func (w *partitioned) addLatest(r *mutation) error {
	newest := make(map[string]int)
	n := len(pingTable.columns)
	cells, args := make([]cqlValue, n*len(r.rows)), make([]any, n*len(r.rows))
	of := func(i int) []cqlValue { return cells[i*n : (i+1)*n] }
	for i, row := range r.rows {
		if err := values(row, of(i), args[i*n:(i+1)*n]); err != nil {
			return err
		}
		c := of(i)
		if binary.BigEndian.Uint32(c[pingNano]) != 0 || int64(binary.BigEndian.Uint64(c[pingTS])) < 0 {
			continue
		}
		if at, ok := newest[string(c[pingDevice])]; !ok || string(of(at)[pingTS]) <= string(c[pingTS]) {
			newest[string(c[pingDevice])] = i
		}
	}
	for _, i := range newest {
		w.newest = append(w.newest, &mutation{table: &latestTable, rows: [][]byte{latestRow(of(i))}, index: r.index[i : i+1]})
	}
	return nil
}

// latestColumns are the columns of pings that the table latest has, in its order.
var latestColumns = func() []int {
	list := []int{pingRider, pingDevice, pingTS, pingLat, pingLon}
	for i := range pingline.Numbers {
		list = append(list, pingNumbers+i)
	}
	return append(list, pingEvent, pingTrip)
}()

// latestRow returns a row of the table latest. A number that is not known is a null, which
// takes the place of that of an earlier ping.
func latestRow(c []cqlValue) []byte {
	var row []byte
	for _, i := range latestColumns {
		if c[i] == nil {
			row = binary.BigEndian.AppendUint16(row, isNull)
			continue
		}
		row = append(binary.BigEndian.AppendUint16(row, uint16(len(c[i]))), c[i]...)
	}
	return row
}

// latestStamp returns the time of writing of a row of the table latest, µs since 1970: the time
// of the ping, and µs that are a hash of the row. Of rows with the same time Cassandra takes the
// larger value of each column, which would be a place where nobody was.
func latestStamp(row []byte) int64 {
	const before = 2 // columns in front of ts
	_, rest, err := head(row, before)
	if err != nil || len(rest) < 2+8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(rest[2:]))*1000 + int64(fnv32(row)%1000)
}
