package audit

import "pingline"

// countPings has each ping that the ingester took in counted. Copies of a ping are one,
// unless each was answered as if it was new.
func (t *auditTrack) countPings() {
	if t.tally == nil {
		return
	}
	for start := 0; start < len(t.pings); {
		_, end := moment(t.pings, start, t.pings[start].at)
		for i := start; i < end; i++ {
			p := &t.pings[i]
			if !contains(t.pings[start:i], p.samePing) {
				least, most := timesCounted(p, t.pings[i:end])
				t.count(p, p.at, least, most)
			}
		}
		start = end
	}
}

// timesCounted returns how often the roll-up has counted p, at least and at most, by all
// answers to p and its copies, which are among the pings of its moment.
func timesCounted(p *auditRecord, list []auditRecord) (least, most int) {
	duplicates, perhaps := 0, 0
	for i := range list {
		q := &list[i]
		switch {
		case !p.samePing(q) || q.elsewhere:
		case q.verdict >= pingline.Accepted && q.verdict <= pingline.Redundant:
			least++
		case q.verdict == pingline.Duplicate:
			duplicates++
		case q.verdict == 0 || q.verdict == pingline.Shed:
			perhaps++
		}
	}
	if least == 0 && duplicates > 0 {
		least = 1 // its first answer was lost
	}
	return least, least + perhaps
}

func (t *auditTrack) count(p *auditRecord, at int64, least, most int) {
	if err := t.tally.Count(t.name.rider, p.lat, p.lon, at, int64(p.answered)*1000, least, most); err != nil {
		t.failure = err
	}
}
