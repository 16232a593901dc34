package storetest

import (
	"fmt"
	"time"

	"pingline"
)

// Held returns n pings that are in the log only.
func Held(n int) []pingline.Entry {
	list := Fleet(7, n)
	for i := range list {
		list[i].Verdict = pingline.Held + pingline.Verdict(i%2)
	}
	return list
}

// Traffic returns n pings as phones send them: an event now and then, every
// twentieth late, half of all redundant.
func Traffic(seed uint64, n int) []pingline.Entry {
	list := Fleet(seed, n)
	for j := range list {
		e := &list[j]
		e.Rider = fmt.Sprintf("rider-%06d", j*7919%100_000)
		switch {
		case j%2 == 1:
			e.Verdict = pingline.Redundant
		case j%100 == 42:
			e.Event = "trip_start"
		case j%20 == 8:
			e.At -= time.Hour.Milliseconds()
		}
	}
	return list
}

// Commit returns a commit of entries in the form of the log, written a minute
// after Recently.
func Commit(entries ...pingline.Entry) []byte {
	return CommitAt(Recently+time.Minute.Milliseconds(), entries...)
}

// CommitAt returns a commit that was written at, ms.
func CommitAt(at int64, entries ...pingline.Entry) []byte {
	h := pingline.CommitHeader{Node: "test", At: at, Entries: uint32(len(entries))}
	payload := pingline.AppendCommitHeader(nil, &h)
	form := pingline.CommitForm(0)
	for i := range entries {
		payload = pingline.AppendEntry(payload, &entries[i], h.At)
		form = max(form, entries[i].Form())
	}
	pingline.SetCommitForm(payload, form)
	return payload
}
