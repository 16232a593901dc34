package server

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline"
	"pingline/ingest"
	"pingline/sink/store"
)

// Limits of reads.
const (
	trackLimit    = 1000   // points of a page, if not said otherwise
	trackMost     = 10_000 // points of a page
	trackSpan     = 24 * time.Hour
	trackSpanMost = 31 * 24 * time.Hour
	storeTimeout  = 10 * time.Second
)

// routes serves what can be read, and returns the paths for it, served or not.
func (s *reads) routes(app *fiber.App) (paths []string) {
	r := s.reader
	for _, route := range []struct {
		path   string
		there  bool
		answer func(*fiber.Ctx, *readInWork) error
	}{
		{"/v1/riders/:id", r.Latest != nil, s.latest},
		{"/v1/riders/:id/track", r.Track != nil, s.track},
		{"/v1/cells", r.Cells != nil, s.cells},
		{"/v1/partitions", r.Partitions != nil, s.partitions},
	} {
		paths = append(paths, route.path)
		if route.there {
			app.Get(route.path, s.bounded(route.answer))
			s.served = append(s.served, route.path)
		}
	}
	return paths
}

func (s *reads) partitions(c *fiber.Ctx, r *readInWork) error {
	body, err := plainJSON(s.reader.Partitions())
	if err != nil {
		return err
	}
	if err := s.chargeRead(r, int64(len(body))); err != nil {
		return err
	}
	return s.answer(c, r, fiber.MIMEApplicationJSON, bytes.NewReader(body), len(body))
}

// numberKeys is how the answer names each optional number.
var numberKeys = func() (keys [len(pingline.Numbers)]string) {
	for i := range keys {
		keys[i] = `,"` + pingline.Numbers[i].Key + `":`
	}
	return keys
}()

// appendStored appends a stored ping as JSON: the keys it was sent with, the numbers
// that are known, and the decisions about it. The texts may be those of another
// writer.
func appendStored(dst []byte, e *pingline.Entry) []byte {
	dst = append(dst, '{')
	if e.Device != "" {
		dst = append(appendJSON(append(dst, `"device_id":`...), e.Device), ',')
	}
	dst = strconv.AppendInt(append(dst, `"ts":`...), e.At, 10)
	dst = appendJSON(append(dst, `,"lat":`...), e.Lat())
	dst = appendJSON(append(dst, `,"lon":`...), e.Lon())
	for i, v := range e.Numbers() {
		if e.Has(1<<i) && v-v == 0 { // finite: JSON has no other
			dst = appendJSON(append(dst, numberKeys[i]...), v)
		}
	}
	if e.Event != "" {
		dst = appendJSON(append(dst, `,"event":`...), e.Event)
	}
	if e.Trip != "" {
		dst = appendJSON(append(dst, `,"trip_id":`...), e.Trip)
	}
	if e.Cell != 0 {
		dst = append(strconv.AppendUint(append(dst, `,"cell":"`...), e.Cell, 16), '"')
	}
	if e.Skipped != 0 {
		dst = strconv.AppendUint(append(dst, `,"skipped":`...), uint64(e.Skipped), 10)
	}
	if e.Late {
		dst = append(dst, `,"late":true`...)
	}
	if e.Corrected {
		dst = append(dst, `,"clock":"corrected"`...)
	}
	if waits(e) {
		dst = append(dst, `,"waiting":true`...)
	}
	return append(dst, '}')
}

// waits reports whether a ping in a reader's answer is not seen in a store yet.
func waits(e *pingline.Entry) bool { return e.Verdict == pingline.Held }

// pointsOf is the points of list, from one time on after the other, as JSON.
func pointsOf(list []pingline.Entry) func(dst []byte) []byte {
	return eachOf(len(list), func(dst []byte, i int) []byte { return appendStored(dst, &list[i]) })
}

// appendJSON appends v, or null if it has no form in JSON, as a number that another
// writer has put into the store may not.
func appendJSON(dst []byte, v any) []byte {
	text, err := plainJSON(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, text...)
}

// answerPoints answers with a rider's points and what is said of them.
func (s *reads) answerPoints(c *fiber.Ctx, r *readInWork, rider string, list []pingline.Entry, end pageEnd) error {
	r.bytes.settle(readBytes + int64(len(list))*leftBytes)
	s.rates.Pay(r.client, len(list)/pointsOfOne)
	head := append(appendJSON([]byte(`{"rider_id":`), rider), `,"pings":[`...)
	return s.answer(c, r, fiber.MIMEApplicationJSON, inTurn(text(string(head)), pointsOf(list), end.text("]")), -1)
}

// text ends a list and the object that it is in.
func (e *pageEnd) text(list string) func(dst []byte) []byte {
	return text(list + "," + string(appendJSON(nil, e)[1:]))
}

// latest answers with the newest ping of each of a rider's devices: what the
// writer knows, and what is stored.
func (s *reads) latest(c *fiber.Ctx, r *readInWork) error {
	rider, err := riderOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	newest, err := s.reader.Newest(ctx, rider)
	if err != nil {
		return storeError(err)
	}
	if len(newest.List) == 0 && !newest.Partial {
		return fiber.NewError(fiber.StatusNotFound, "no ping of this rider is known")
	}
	return s.answerPoints(c, r, rider, newest.List, pageEnd{Partial: newest.Partial, MemoryOnly: newest.MemoryOnly})
}

// track answers with a page of what is stored of a rider, and waits to be.
func (s *reads) track(c *fiber.Ctx, r *readInWork) error {
	if s.over.Policy().NoReads {
		return readLater("overloaded, tracks are not read")
	}
	rider, err := riderOf(c)
	if err != nil {
		return err
	}
	q, err := s.trackQuery(c, time.Now())
	if err != nil {
		return err
	}
	// A page counts as a client's whole share at most: it must be possible.
	asked := int64(q.Limit) * pointBytes * int64(1+max(1, s.reader.Shards))
	if err := s.chargeRead(r, min(asked, s.answers.most/4-readBytes)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	q.Rider = rider
	stored, complete, err := s.reader.Page(ctx, q)
	if err != nil {
		return storeError(err)
	}
	end := pageEnd{CompleteTo: &complete, Partial: stored.Partial, MemoryOnly: stored.MemoryOnly}
	if stored.More {
		end.Next = formatInstant(stored.Next, stored.NextNano)
	}
	c.Vary(fiber.HeaderAccept)
	if strings.Contains(c.Get(fiber.HeaderAccept), mimeGeoJSON) {
		return s.answerLines(c, r, rider, stored.List, end)
	}
	return s.answerPoints(c, r, rider, stored.List, end)
}

func (s *reads) trackQuery(c *fiber.Ctx, now time.Time) (q store.Query, err error) {
	q.To = now.Add(s.maxAhead).UnixMilli() + 1
	if err := timeParam(c, "to", &q.To, nil); err != nil {
		return q, err
	}
	q.From = q.To - trackSpan.Milliseconds()
	if err := timeParam(c, "from", &q.From, &q.FromNano); err != nil {
		return q, err
	}
	if q.From > q.To {
		return q, badQuery("from", "%d is after to, %d", q.From, q.To)
	}
	if q.To-q.From > trackSpanMost.Milliseconds() {
		return q, badQuery("from", "%d is more than %v before to, %d: ask for one part after the other", q.From, trackSpanMost, q.To)
	}
	if q.Limit, err = intParam(c, "limit", trackLimit, 1, trackMost); err != nil {
		return q, err
	}
	if v := c.Query("device"); v != "" {
		q.Device = strings.Clone(v)
		if err := pingline.CheckID("device", q.Device); err != nil {
			return q, &reasonError{errBadQuery, err.Error()}
		}
	}
	return q, nil
}

// riderOf returns the rider in the path.
func riderOf(c *fiber.Ctx) (string, error) {
	raw := c.Params("id")
	rider, err := url.PathUnescape(raw)
	if err != nil {
		return "", badQuery("rider_id", "%q is not percent-encoded", raw)
	}
	rider = strings.Clone(rider)
	if err := pingline.CheckID("rider_id", rider); err != nil {
		return "", &reasonError{errBadQuery, err.Error()}
	}
	return rider, nil
}

// timeParam sets at to the parameter of that name, ms or RFC 3339, if it is there;
// and nano to the part of an instant behind its ms. With a nil nano at is the first
// whole ms that is not before the instant.
func timeParam(c *fiber.Ctx, name string, at, nano *int64) error {
	v := c.Query(name)
	if v == "" {
		return nil
	}
	ms, ns, ok := parseInstant(v)
	if !ok {
		t, err := time.Parse(time.RFC3339, strings.ReplaceAll(v, " ", "+")) // a + that was not escaped
		if err != nil {
			return badQuery(name, "%q is neither ms since 1970 nor RFC 3339", v)
		}
		ms, ns = t.UnixMilli(), int64(t.Nanosecond())%pingline.NanosPerMilli
	}
	if unit := pingline.UnitOf(ms); unit != "ms" {
		return badQuery(name, "%d looks like %s since 1970; send ms", ms, unit)
	}
	const most = math.MaxInt64 / 1_000_000 // what InfluxDB can tell apart
	if ms < -most || ms > most {
		return badQuery(name, "%d is not in [%d, %d]", ms, -most, most)
	}
	switch *at = ms; {
	case nano != nil:
		*nano = ns
	case ns > 0:
		*at++
	}
	return nil
}

// nanoDigits is how many digits the ns of a ms have.
const nanoDigits = 6

// formatInstant writes ms, with the ns behind them as decimals if there are any:
// 1760000000123.000457.
func formatInstant(ms, nano int64) string {
	if nano == 0 {
		return strconv.FormatInt(ms, 10)
	}
	return fmt.Sprintf("%d.%0*d", ms, nanoDigits, nano)
}

// parseInstant reads what formatInstant writes, and any other fraction of a ms; what is
// finer than a ns is cut off.
func parseInstant(v string) (ms, nano int64, ok bool) {
	whole, part, apart := strings.Cut(v, ".")
	ms, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || !apart {
		return ms, 0, err == nil
	}
	if part == "" || strings.Trim(part, "0123456789") != "" {
		return ms, 0, false
	}
	ns, err := strconv.ParseUint((part + "000000")[:nanoDigits], 10, 64)
	return ms, int64(ns), err == nil
}

func intParam(c *fiber.Ctx, name string, def, lo, hi int) (int, error) {
	v := c.Query(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		return 0, badQuery(name, "%q is not a number in [%d, %d]", v, lo, hi)
	}
	return n, nil
}

// storeError tells a reader to come back: what is stored cannot be read now.
func storeError(err error) error {
	return readLater("the store does not answer: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// readLater refuses a read that may succeed another time.
func readLater(format string, args ...any) error {
	return &reasonError{ingest.ErrUnavailable, fmt.Sprintf(format, args...) + "; ask again later"}
}
