package queue

import "slices"

// cache holds the newest records, numbered without a gap, within a limit of
// bytes.
type cache struct {
	list  []Record
	head  int // list[:head] is empty
	bytes int64
	most  int64
}

const recordOverhead = 128 // bytes a record takes in memory beside its payload

func (c *cache) add(r Record) {
	if n := len(c.list); n > c.head && c.list[n-1].Number+1 != r.Number {
		*c = cache{most: c.most}
	}
	c.list = append(c.list, r)
	c.bytes += recordOverhead + int64(len(r.Payload))
	for c.bytes > c.most {
		c.bytes -= recordOverhead + int64(len(c.list[c.head].Payload))
		c.list[c.head] = Record{}
		c.head++
	}
	if c.head > len(c.list)/2 {
		c.list = slices.Delete(c.list, 0, c.head)
		c.head = 0
	}
}

// first returns the number of the oldest record held, 0 if there is none.
func (c *cache) first() uint64 {
	if c.head == len(c.list) {
		return 0
	}
	return c.list[c.head].Number
}

// get returns record number, if it is held.
func (c *cache) get(number uint64) (Record, bool) {
	first := c.first()
	if first == 0 || number < first || number-first >= uint64(len(c.list)-c.head) {
		return Record{}, false
	}
	return c.list[c.head+int(number-first)], true
}
