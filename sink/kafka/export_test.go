package kafka

// SetMost sets how many bytes of rows messages of unknown end may take.
func (t *Topics) SetMost(bytes int) { t.most = bytes }
