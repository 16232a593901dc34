package queue

// blockBytes is the most that JetStream writes to a file of messages. It deletes a file
// as a whole, once all of its messages are dropped, and rewrites hardly any.
const blockBytes = 8 << 20

// Fill has the appends that follow carry padding, until the file of messages that the log
// now ends in is full, so that it goes as soon as its records are trimmed. It reports
// false if there is no room for that.
func (l *Log) Fill() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit-l.reserve-l.bytes < 2*blockBytes {
		return false
	}
	if l.stream.MaxPad(0) == 0 { // it would not help
		return true
	}
	if l.filling <= 0 {
		l.filling = blockBytes
	}
	return true
}

// Filling returns how many bytes of padding are to be appended yet.
func (l *Log) Filling() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.filling
}

// padding returns the bytes of padding of the next append, which has room for so many.
func (l *Log) padding(room int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit-l.reserve-l.bytes < blockBytes {
		l.filling = 0
	}
	return max(0, min(int(l.filling), room))
}

// Drop drops the records that every cursor has passed, kept or in memory, as TrimKept does,
// and does not wait until they are many. It returns the number of the first record that
// is left.
func (l *Log) Drop() (first uint64, err error) {
	if next, ok := l.cursors.Nearest(); ok {
		err = l.trimTo(l.life, next)
	}
	return l.First(), err
}
