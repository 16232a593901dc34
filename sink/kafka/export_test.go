package kafka

import "time"

// SetLinger sets how long a batch of messages waits for more, before the first write.
func (t *Topics) SetLinger(d time.Duration) { t.linger = d }

// SetMost sets how many bytes of rows messages of unknown end may take.
func (t *Topics) SetMost(bytes int) { t.most = bytes }
