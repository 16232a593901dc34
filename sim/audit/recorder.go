package audit

import "pingline"

// Recorder takes down each ping that was sent, and the answer to it: a [Ledger] in
// memory, an [AckLog] in a file. It is safe for concurrent use.
type Recorder interface {
	// Record takes down pings that were sent together, their verdicts, and the bound
	// of their answer in metres. Verdicts are nil if no answer came. It keeps neither
	// slice, but may keep the strings of the pings.
	Record(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32)
}

var _, _, _ Recorder = (*Ledger)(nil), (*AckLog)(nil), recorders(nil)

// Tee returns a Recorder that has each of list record; nil if there is none in it.
func Tee(list ...Recorder) Recorder {
	var all recorders
	for _, r := range list {
		if r != nil {
			all = append(all, r)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

type recorders []Recorder

func (list recorders) Record(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32) {
	for _, r := range list {
		r.Record(pings, verdicts, maxError, accuracyCap)
	}
}
