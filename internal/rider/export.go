package rider

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/node"
	"pingline/internal/operator"
	"pingline/internal/plainjson"
	"pingline/internal/rights"
	"pingline/internal/unit"
	"pingline/query"
	"pingline/sink/store"
)

// ExportCmd writes all that is known of a rider.
type ExportCmd struct {
	ID `embed:""`

	Format string    `default:"ndjson" enum:"ndjson,geojson" help:"ndjson, a ping a line as clients send it, or geojson, a collection of points."`
	From   givenTime `placeholder:"TIME" help:"Only pings from this time on: RFC 3339, or ms since 1970."`
	To     givenTime `placeholder:"TIME" help:"Only pings before this time."`
	Of     string    `name:"set" placeholder:"NAME" help:"Read the pings of this set of shards, instead of the set that serve reads."`
	Server string    `default:"http://127.0.0.1:9090" placeholder:"URL" help:"Operations listener of the running server: it tells which pings it holds, has not stored yet, or could not store. With an empty URL only the stores are asked."`

	operator.AdminKey  `embed:""`
	command.StoreFlags `embed:""`
}

// givenTime is a time, ms since 1970; the zero value is none.
type givenTime struct {
	ms  int64
	set bool
}

// UnmarshalText reads ms since 1970, or RFC 3339.
func (i *givenTime) UnmarshalText(text []byte) error {
	ms, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		at, err := time.Parse(time.RFC3339, string(text))
		if err != nil {
			return fmt.Errorf("%q is neither ms since 1970 nor RFC 3339", text)
		}
		ms = at.UnixMilli()
	}
	if unit := pingline.UnitOf(ms); unit != "ms" {
		return fmt.Errorf("%d looks like %s since 1970; give ms", ms, unit)
	}
	*i = givenTime{ms, true}
	return nil
}

// Validate is called by the parser.
func (c *ExportCmd) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.From.set && c.To.set && c.From.ms >= c.To.ms {
		return errors.New("--to: is not after --from")
	}
	if c.Server != "" {
		if err := operator.CheckServer(c.Server); err != nil {
			return err
		}
	}
	return c.Check(c.Server)
}

// Run writes the export to stdout, and how many pings it has to stderr.
func (c *ExportCmd) Run(p *command.Program) (err error) {
	cfg := node.DefaultConfig()
	c.Set(&cfg)
	if err := cfg.Check(); err != nil {
		return command.Unusable(err)
	}
	cfg.Influx.Timeout = max(cfg.Influx.Timeout, time.Minute) // a long query falls silent at times
	stored, err := node.OpenStored(&cfg)
	if err != nil {
		return command.Unusable(err)
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	if c.Of != "" {
		if err := stored.OfSet(c.Of); err != nil {
			return command.Unusable(fmt.Errorf("--set: %w", err))
		}
	}
	q := store.All()
	if c.From.set {
		q.From = c.From.ms
	}
	if c.To.set {
		q.To = c.To.ms
	}
	x := &export{q: q, rider: c.ID.ID, read: stored.Track, out: bufio.NewWriterSize(p.Stdout, 64<<10), geo: c.Format == "geojson"}
	if c.Server != "" {
		if err := x.askServer(p, &c.AdminKey, c.Server); err != nil {
			return fmt.Errorf("the server is not asked for what it has not stored yet (--server= exports only what is stored): %w", err)
		}
	}
	if err := errors.Join(x.write(p), x.out.Flush()); err != nil {
		return fmt.Errorf("export of rider %s: %w", c.ID.ID, err)
	}
	fmt.Fprintf(p.Stderr, "%s of rider %s: %d stored, %d not stored yet\n", unit.Plural(x.stored+x.others, "ping", "pings"), c.ID.ID, x.stored, x.others)
	return nil
}

// exportPage is the most points that are read at once, of each shard and series.
const exportPage = 5000

// export is an export on its way. Its memory is that of a page, and of the pings that the
// server has not stored.
type export struct {
	q     store.Query // without a rider
	rider string
	also  string // pseudonym by which the rider is stored; "": none
	read  func(context.Context, store.Query) (query.Page, error)
	out   *bufio.Writer
	geo   bool

	unstored       []unstoredPing // in order of time
	stored, others int            // pings written
	buf            []byte
}

// unstoredPing is a ping that the server knows and no store has, as the server told it.
type unstoredPing struct {
	Rider  string  `json:"rider_id"`
	Device string  `json:"device_id"`
	At     int64   `json:"ts"`
	Lat    float64 `json:"lat"`
	Lon    float64 `json:"lon"`
	Event  string  `json:"event"`

	raw json.RawMessage
}

// is reports whether a stored ping is this one.
func (u *unstoredPing) is(e *pingline.Entry) bool {
	same := func(a float64, b int32) bool { return int64(math.Round(a*pingline.E7)) == int64(b) }
	return u.At == e.At && u.Device == e.Device && same(u.Lat, e.LatE7) && same(u.Lon, e.LonE7) && (u.Event == "" || u.Event == e.Event)
}

// askServer asks for the pings that are not stored. It is asked first: a ping that it stores
// meanwhile is found in the store.
func (x *export) askServer(ctx context.Context, key *operator.AdminKey, server string) error {
	resp, err := key.Ask(ctx, http.MethodGet, server, []string{"v1", "riders", x.rider, "unstored"}, nil, http.StatusOK)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the end of it has been read
	x.also = resp.Header.Get(rights.StoredAs)
	for dec := json.NewDecoder(resp.Body); ; {
		var u unstoredPing
		switch err := dec.Decode(&u.raw); {
		case errors.Is(err, io.EOF):
			slices.SortStableFunc(x.unstored, func(a, b unstoredPing) int { return int(min(max(a.At-b.At, -1), 1)) })
			return nil
		case err != nil:
			return fmt.Errorf("its answer breaks off: %w", err)
		}
		if err := json.Unmarshal(u.raw, &u); err != nil {
			return err
		}
		if x.q.From <= u.At && u.At < x.q.To {
			x.unstored = append(x.unstored, u)
		}
	}
}

// write writes all pings, by each name in order of time.
func (x *export) write(ctx context.Context) error {
	if x.geo {
		x.text(string(append(plainjson.Append([]byte(`{"type":"FeatureCollection","rider_id":`), x.rider), `,"features":[`...)))
	}
	for _, name := range []string{x.rider, x.also} { // pings from before there were pseudonyms come first
		if err := x.writeBy(ctx, name); err != nil {
			return err
		}
	}
	if x.geo {
		x.text("\n]}\n")
	}
	return nil
}

// writeBy writes all pings by one name of the rider, in order of time; none by "".
func (x *export) writeBy(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	all := x.unstored
	x.unstored = slices.DeleteFunc(slices.Clone(all), func(u unstoredPing) bool { return u.Rider != name })
	defer func() { x.unstored = all }()
	q := x.q
	q.Rider, q.Limit = name, exportPage
	for more := true; more; {
		page, err := x.read(ctx, q)
		if err = errors.Join(append(page.Silent, err)...); err != nil {
			return err
		}
		for i := range page.Points {
			e := &page.Points[i]
			x.unstoredBefore(e.At)
			x.leaveOut(e)
			x.buf = query.AppendWhole(x.buf[:0], e)
			x.ping(x.buf, e.Lon(), e.Lat())
			x.stored++
		}
		more = page.More
		q.From, q.FromNano = page.Next, page.NextNano
	}
	x.unstoredBefore(math.MaxInt64)
	return nil
}

// unstoredBefore writes the pings of before a time that are not stored.
func (x *export) unstoredBefore(at int64) {
	for len(x.unstored) > 0 && x.unstored[0].At < at {
		u := &x.unstored[0]
		x.ping(u.raw, u.Lon, u.Lat)
		x.others++
		x.unstored = x.unstored[1:]
	}
}

// leaveOut leaves out a ping of those that are not stored, because the store has it.
func (x *export) leaveOut(e *pingline.Entry) {
	for i := range x.unstored {
		if x.unstored[i].At > e.At {
			return
		}
		if x.unstored[i].is(e) {
			x.unstored = slices.Delete(x.unstored, i, i+1)
			return
		}
	}
}

// ping writes a ping, given as a JSON object.
func (x *export) ping(object []byte, lon, lat float64) {
	object = bytes.TrimSpace(object)
	if !x.geo {
		x.text(string(object) + "\n")
		return
	}
	before := "\n"
	if x.stored+x.others > 0 {
		before = ",\n"
	}
	position := plainjson.Append(nil, [2]float64{lon, lat})
	x.text(before + `{"type":"Feature","geometry":{"type":"Point","coordinates":` + string(position) + `},"properties":` + string(object) + "}")
}

// text writes s; an error is that of Flush.
func (x *export) text(s string) { _, _ = x.out.WriteString(s) }
