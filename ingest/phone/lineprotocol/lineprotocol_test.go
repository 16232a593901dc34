package lineprotocol

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"pingline"
	"pingline/ingest/phone"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

// read decodes a body with a configuration.
func read(t testing.TB, c Config, r phone.Request) (*phone.Pings, phone.Reply) {
	t.Helper()
	p := New(c)
	r.Method, r.Now, r.Limits = "POST", phonetest.Now, r.Limits.WithDefaults()
	if r.Path == "" {
		r.Path = path1
	}
	var pings phone.Pings
	err := p.Read(&r, &pings)
	got := phone.Outcome{Err: err, Pings: &pings}
	for range pings.List {
		got.Judged = append(got.Judged, 1)
	}
	var to phone.Reply
	p.Reply(&to, &r, &got)
	return &pings, to
}

func TestNames(t *testing.T) {
	now := fmt.Sprint(phonetest.Now.UnixNano())
	for _, tt := range []struct {
		name string
		c    Config
		of   string // rider of the key
		line string
		want string // rider/device lat,lon speed, or the start of the refusal
	}{
		{"as Telegraf sends", Config{}, "", "gps,host=gw lat=1,lon=2", "gw/ 1,2 0"},
		{"a better name than the host", Config{}, "", "gps,host=gw,rider=ana lat=1,lon=2", "ana/ 1,2 0"},
		{"rider and device", Config{}, "", "gps,device=pixel,rider=ana lat=1,lon=2", "ana/pixel 1,2 0"},
		{"a device alone", Config{}, "", "gps,device=pixel lat=1,lon=2", "pixel/ 1,2 0"},
		{"the key's rider", Config{}, "key", "gps,device=pixel lat=1,lon=2", "key/pixel 1,2 0"},
		{"the key's rider, and another", Config{}, "key", "gps,rider=ana lat=1,lon=2", "key/ana 1,2 0"},
		{"a rider as a field", Config{}, "", `gps lat=1,lon=2,rider="ana"`, "ana/ 1,2 0"},
		{"own riders", Config{Riders: []string{"van"}}, "", "gps,van=v1,rider=ana lat=1,lon=2", "v1/ 1,2 0"},
		{"own riders, and none", Config{Riders: []string{"van"}}, "", "gps,rider=ana lat=1,lon=2", "rider_id: line 1: missing"},
		{"own names", Config{Names: []string{"lat=y", "lon=x", "speed=v"}}, "", "gps,rider=ana x=2,y=1,v=3,speed=9", "ana/ 1,2 3"},
		{"a default gives way", Config{Names: []string{"speed=course"}}, "", "gps,rider=ana lat=1,lon=2,course=3", "ana/ 1,2 3"},
		{"a measurement", Config{Measurements: []string{"a b"}}, "", `a\ b,rider=ana lat=1,lon=2`, "ana/ 1,2 0"},
		{"another measurement", Config{Measurements: []string{"a b"}}, "", "gps,rider=ana lat=1,lon=2", "lat: line 1: no position: lines of this"},
		{"no position", Config{}, "", "cpu,rider=ana usage=1", "lat: line 1: no position: the line"},
		{"no position, dropped", Config{Drop: true}, "", "cpu,rider=ana usage=1", ""},
		{"half a position", Config{Drop: true}, "", "gps,rider=ana lat=1", "lon: line 1: missing"},
		{"a text for a number", Config{}, "", `gps,rider=ana lat="1",lon=2`, "lat: line 1: lat or lon is not a number"},
		{"escapes in names", Config{Names: []string{`lat=a,b =c`}}, "", `gps,rider=a\,b a\,b\ \=c=1,lon=2`, "a,b/ 1,2 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, to := read(t, tt.c, phone.Request{Rider: tt.of, Body: []byte(tt.line + " " + now)})
			got := ""
			for _, p := range pings.List {
				got += fmt.Sprintf("%s/%s %v,%v %v", p.Rider, p.Device, p.Lat(), p.Lon(), p.Speed)
			}
			if to.Status != 204 {
				got = strings.TrimPrefix(string(to.Body), `{"error":"`)
			}
			if !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("%s: %q, want %q", tt.line, got, tt.want)
			}
		})
	}
}

func TestBadConfigs(t *testing.T) {
	for want, c := range map[string]Config{
		`names: "lat" is not of the form FIELD=NAME`:           {Names: []string{"lat"}},
		`names: there is no "rider", only lat`:                 {Names: []string{"rider=x"}},
		`names: "lat=a" is there twice`:                        {Names: []string{"lat=a", "lat=a"}},
		`names: "a" is the name of lat and of lon`:             {Names: []string{"lat=a", "lon=a"}},
		`riders: "a" is there twice`:                           {Riders: []string{"a", "a"}},
		`riders: "a" is the name of lat`:                       {Riders: []string{"a"}, Names: []string{"lat=a"}},
		`riders: "" is not of 1 to 128 bytes`:                  {Riders: []string{""}},
		`measurements: "" is not of 1 to 128 bytes`:            {Measurements: []string{""}},
		`names: "lat=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is`: {Names: []string{"lat=" + strings.Repeat("a", 129)}},
	} {
		if flag, err := c.Check(); err == nil || !strings.HasPrefix(flag+": "+err.Error(), "line-"+want) {
			t.Errorf("%+v: %s: %v, want %s", c, flag, err, want)
		}
	}
}

// A timestamp is of the same instant in every unit, and cut to milliseconds.
func TestPrecision(t *testing.T) {
	for precision, text := range map[string]string{
		"": "1759999999999999999", "ns": "1759999999999999999", "n": "1759999999999999999", "u": "1759999999999999", "us": "1759999999999999", "%C2%B5": "1759999999999999",
		"ms": "1759999999999",
	} {
		pings, to := read(t, Config{}, phone.Request{Query: "db=x&precision=" + precision, Body: []byte("a,rider=b lat=1,lon=1 " + text)})
		if len(pings.List) != 1 || pings.List[0].At != 1_759_999_999_999 {
			t.Errorf("%s: %+v %s", precision, pings.List, to.Body)
		}
	}
	for precision, times := range map[string]int64{"s": 1000, "m": 60_000, "h": 3_600_000} {
		at := phonetest.Now.UnixMilli() / times
		pings, to := read(t, Config{}, phone.Request{Query: "precision=" + precision, Body: fmt.Appendf(nil, "a,rider=b lat=1,lon=1 %d", at)})
		if len(pings.List) != 1 || pings.List[0].At != at*times {
			t.Errorf("%s: %+v %s", precision, pings.List, to.Body)
		}
	}
	for _, tt := range []struct{ at, ns, want int64 }{
		{-1, 1, -1}, {-1_000_001, 1, -2}, {math.MaxInt64, 3600e9, math.MaxInt64}, {math.MinInt64, 1e9, math.MinInt64}, {math.MinInt64, 1, -9_223_372_036_855},
	} {
		if got := milliseconds(tt.at, tt.ns); got != tt.want {
			t.Errorf("%d of %d ns: %d ms, want %d", tt.at, tt.ns, got, tt.want)
		}
	}
}

// theirs reads a body by the decoder of InfluxDB's makers, and returns a text for each line: the
// keys and values, the timestamp, or that it is refused.
func theirs(body []byte) (lines []string) {
	d := lineprotocol.NewDecoderWithBytes(body)
	for d.Next() {
		lines = append(lines, func() string {
			m, err := d.Measurement()
			if err != nil {
				return "refused"
			}
			text := fmt.Sprintf("%q", m)
			for {
				key, v, err := d.NextTag()
				if err != nil {
					return "refused"
				} else if key == nil {
					break
				}
				text += fmt.Sprintf(" %q=%q", key, v)
			}
			for {
				key, v, err := d.NextField()
				if err != nil {
					return "refused"
				} else if key == nil {
					break
				}
				switch v.Kind() {
				case lineprotocol.Int:
					text += fmt.Sprintf(" %q:%v", key, float64(v.IntV()))
				case lineprotocol.Uint:
					text += fmt.Sprintf(" %q:%v", key, float64(v.UintV()))
				case lineprotocol.Float:
					text += fmt.Sprintf(" %q:%v", key, v.FloatV())
				case lineprotocol.Bool:
					text += fmt.Sprintf(" %q:bool", key)
				default:
					text += fmt.Sprintf(" %q:%q", key, v.StringV())
				}
			}
			at, err := d.TimeBytes()
			if err != nil {
				return "refused"
			}
			return text + " " + string(at)
		}())
	}
	return lines
}

// ours reads a body by the parser here, as theirs does.
func ours(body []byte) (lines []string) {
	p := lineReader{text: body, line: 1}
	for p.begin() {
		lines = append(lines, func() string {
			m, err := p.measurement()
			if err != nil {
				return "refused"
			}
			text := fmt.Sprintf("%q", m.string())
			for p.more(',') {
				key, v, err := p.tag()
				if err != nil {
					return "refused"
				}
				text += fmt.Sprintf(" %q=%q", key.string(), v.string())
			}
			if p.space() != nil {
				return "refused"
			}
			for first := true; first || p.more(','); first = false {
				key, v, err := p.field()
				if err != nil {
					return "refused"
				}
				switch v.kind {
				case numberValue:
					text += fmt.Sprintf(" %q:%v", key.string(), v.number)
				case boolValue:
					text += fmt.Sprintf(" %q:bool", key.string())
				default:
					text += fmt.Sprintf(" %q:%q", key.string(), v.text.string())
				}
			}
			from := p.i
			_, timed, err := p.end()
			if err != nil {
				return "refused"
			}
			if text += " "; timed {
				text += strings.TrimSpace(string(body[from:p.i]))
			}
			return text
		}())
		if lines[len(lines)-1] == "refused" {
			p.skipLine()
		}
	}
	return lines
}

// FuzzParser reads lines beside the decoder of InfluxDB's makers: a line that both take means
// the same to both.
func FuzzParser(f *testing.F) {
	for _, s := range []string{
		"a,b=c d=1", "a b=1i,c=2u,d=t,e=FALSE,f=\"x,y \\\" z\" 12", `a\ b,c\,d=e\=f g\ h=-1.5e3 -5`, "a b=1\r\n\n# c\na b=2 \n", "a,b c=1", "a b=", "a  b=1  3  ", `a\\,b=c d=1`,
		"a b=\"x\ny\" 1\nc d=1", "a b=1e400", "a b=1 99999999999999999999", "a b=--1", "a b=1.2.3", "a,=b c=1", "a b=\"", "a b=tr", "a b=1x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		// Left out: escapes within strings, of which InfluxDB knows \" and \\ only; numbers of
		// Go that are none in InfluxDB; and control characters.
		if strings.ContainsAny(line, "\\_xXpP#\t\v\f") || strings.IndexFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd }) >= 0 {
			return
		}
		one, two := ours([]byte(line)), theirs([]byte(line))
		if len(one) != len(two) {
			t.Fatalf("%q: %q, theirs %q", line, one, two)
		}
		for i := range one {
			if one[i] != two[i] && one[i] != "refused" {
				t.Errorf("%q: %s, theirs %s", line, one[i], two[i])
			}
			if one[i] == "refused" && two[i] != "refused" && !strings.HasSuffix(two[i], " ") && !strings.Contains(line, "-") {
				t.Logf("%q: refused, theirs %s", line, two[i])
			}
		}
	})
}

// The escapes of InfluxDB.
func TestEscapes(t *testing.T) {
	for line, want := range map[string]string{
		`a\ b,c\,d=e\=f g\ h=1`:        `"a b" "c,d"="e=f" "g h":1 `,
		`a\\,b=c d=1`:                  `"a\\,b=c" "d":1 `,
		`a\=b,k=v\z f=1`:               `"a\\=b" "k"="v\\z" "f":1 `,
		`a f="b\"c\\d\ne",g="\\" 5`:    `"a" "f":"b\"c\\d\\ne" "g":"\\" 5`,
		"a f=\"b\nc\"\nd e=1":          `"a" "f":"b\nc" |"d" "e":1 `,
		"a f=\"b\nc d=1":               `refused|"c" "d":1 `,
		"a f=1 \r\nb g=2 1\r\nc h=3\r": `"a" "f":1 |"b" "g":2 1|"c" "h":3 `,
		"a\tb f=1":                     "refused",
		"é f=1":                        `"é" "f":1 `,
	} {
		if got := strings.Join(ours([]byte(line)), "|"); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// The cost of a line that is malformed is about that of another.
func TestBrokenLinesAreCheap(t *testing.T) {
	r := phone.Request{Method: "POST", Path: path2, Body: bytes.Repeat([]byte("a b=1 1 x\n"), 6000), Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
	var pings phone.Pings
	if n := testing.AllocsPerRun(10, func() { _ = Protocol.Read(&r, &pings) }); n > 6*phone.MaxRejections || pings.Received != 6000 {
		t.Errorf("%v allocations for %d malformed lines", n, pings.Received)
	}
}

func BenchmarkDecode(b *testing.B) {
	var body []byte
	const lines = 1000
	for i := range lines {
		body = fmt.Appendf(body, "gps,host=gw-1,rider=r-%d lat=41.%07d,lon=-8.6109,speed=4.25,heading=271,accuracy=5 %d\n", i, i, phonetest.Now.UnixNano())
	}
	r := phone.Request{Method: "POST", Path: path2, Body: body, Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
	var pings phone.Pings
	b.ReportAllocs()
	for b.Loop() {
		if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) != lines {
			b.Fatal(err, pings.Rejected)
		}
	}
	b.ReportMetric(float64(b.N)*lines/b.Elapsed().Seconds(), "pings/s")
}

// Lines that private zones withheld do not hide why another is refused.
func TestReasonBehindZones(t *testing.T) {
	p := New(Config{})
	now := strconv.FormatInt(phonetest.Now.UnixNano(), 10)
	body := strings.Repeat("g,rider=ana lat=1,lon=2 "+now+"\n", phone.MaxRejections) + "g,rider=ana lat=99,lon=2 " + now + "\n"
	for _, path := range []string{path1, path1 + "/"} {
		r := phone.Request{Method: http.MethodPost, Path: path, Body: []byte(body), Now: phonetest.Now}
		r.Limits = r.Limits.WithDefaults()
		var pings phone.Pings
		err := p.Read(&r, &pings)
		pings.Withhold(func(*pingline.Ping) bool { return true })
		var to phone.Reply
		p.Reply(&to, &r, &phone.Outcome{Err: err, Pings: &pings, Judged: make([]pingline.Verdict, len(pings.List))})
		if text := string(to.Body); !strings.HasPrefix(text, `{"error":`) || !strings.Contains(text, "lat") || strings.Contains(text, "partial") {
			t.Errorf("%s: %d %s", path, to.Status, text)
		}
	}
}

// passed decodes a body that may be of any sender, and returns the lines to pass on.
func passed(t testing.TB, c Config, r phone.Request) (lines []string, pings *phone.Pings, reply string) {
	t.Helper()
	c.Pass = true
	pings, to := read(t, c, r)
	from := 0
	for _, end := range pings.Others.Ends {
		lines = append(lines, string(pings.Others.Bytes[from:end]))
		from = end
	}
	if from != len(pings.Others.Bytes) {
		t.Errorf("%d bytes are behind the last line", len(pings.Others.Bytes)-from)
	}
	return lines, pings, fmt.Sprint(to.Status, " ", string(to.Body))
}

type onlyAna struct{}

func (onlyAna) Has(rider string) bool { return rider == "ana" }

func TestLinesThatArePassedOn(t *testing.T) {
	now := phonetest.Now.UnixNano()
	for _, tt := range []struct {
		name, query, body string
		want              []string // without the line break at the end
		reply             string
	}{
		{"with a timestamp", "", "cpu,host=a usage=1 17", []string{"cpu,host=a usage=1 17"}, "204"},
		{"without one", "", "cpu,host=a usage=1", []string{fmt.Sprintf("cpu,host=a usage=1 %d", now)}, "204"},
		{"in seconds", "precision=s", "cpu usage=1 17\nmem used=2i 18\n", []string{"cpu usage=1 17000000000", "mem used=2i 18000000000"}, "204"},
		{"before 1970", "precision=ms", "cpu usage=1 -17", []string{"cpu usage=1 -17000000"}, "204"},
		{"beyond 64 bits", "precision=h", "cpu usage=1 9223372036854775807", nil, "400 {\"error\":\"ts: line 1: the timestamp is beyond"},
		{"ends of Windows, and comments", "", "# a\r\ncpu usage=1 17 \r\n\r\n  mem used=2 18", []string{"cpu usage=1 17", "mem used=2 18"}, "204"},
		{"beside a position", "", fmt.Sprintf("cpu usage=1 17\ngps,rider=ana lat=1,lon=2 %d\n", now), []string{"cpu usage=1 17"}, "204"},
		{"beside half a position", "", "cpu usage=1 17\ngps,rider=ana lat=1 17", []string{"cpu usage=1 17"}, "400 {\"error\":\"partial write: lon: line 2: missing dropped=1"},
		{"beside a broken line", "", "cpu usage=1 17\ncpu usage=x", []string{"cpu usage=1 17"}, "400 {\"error\":\"partial write: unable to parse line 2"},
		{"a name in place of a rider", "", "cpu,rider=ana usage=1 17", []string{"cpu,rider=ana usage=1 17"}, "204"},
		{"texts with line breaks", "", "log,path=a\\ b m=\"x\ny\",n=\"z\\\"\n\" 17", []string{"log,path=a\\ b m=\"x\ny\",n=\"z\\\"\n\" 17"}, "204"},
		{"as Pingline writes pings", "", "location,rider=eve a=1 17", nil, "400 {\"error\":\"lat: line 1: no position: only Pingline"},
		{"as Pingline writes totals", "", "cell_activity a=1 17", nil, "400"},
		{"as Pingline writes about itself", "", "pingline_lane a=1 17", nil, "400"},
		{"two lines, for InfluxDB", "", "m,t=a\\\\ b\\\\,c\\\\,d f=\"x\nlocation,rider=eve lat=1,lon=1\" 17", nil, "400 {\"error\":\"lat: line 1: no position: with these"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, _, reply := passed(t, Config{}, phone.Request{Query: tt.query, Body: []byte(tt.body)})
			for i := range tt.want {
				tt.want[i] += "\n"
			}
			if !slices.Equal(lines, tt.want) || !strings.HasPrefix(reply, tt.reply) {
				t.Errorf("%q, %s, want %q, %s", lines, reply, tt.want, tt.reply)
			}
		})
	}
	// Lines of another measurement than those of positions are passed on as they are.
	if lines, pings, _ := passed(t, Config{Measurements: []string{"gps"}}, phone.Request{Body: []byte("weather,rider=x lat=1,lon=2 17")}); len(lines) != 1 || len(pings.List) != 0 {
		t.Errorf("%q, %d pings", lines, len(pings.List))
	}
	// A key for some riders passes none on, whatever it names.
	r := phone.Request{Body: fmt.Appendf(nil, "cpu,rider=ana usage=1 17\ngps,rider=ana lat=1,lon=2 %d", now), Limits: phone.Limits{Riders: onlyAna{}}}
	if lines, pings, reply := passed(t, Config{}, r); len(lines) != 0 || len(pings.List) != 1 || !strings.Contains(reply, "partial write: rider_id: line 1: no position: a key") {
		t.Errorf("%q, %d pings, %s", lines, len(pings.List), reply)
	}
	// Their number is bounded as that of pings is.
	r = phone.Request{Body: []byte(strings.Repeat("a b=1\n", 4)), Limits: phone.Limits{MaxPings: 3}}
	if lines, _, reply := passed(t, Config{}, r); len(lines) != 0 || !strings.HasPrefix(reply, "413 ") {
		t.Errorf("%q, %s", lines, reply)
	}
}

// An answer tells of lines that the store has refused, and of others before those.
func TestReplyOfPassedLines(t *testing.T) {
	p := New(Config{Pass: true})
	for _, tt := range []struct {
		body    string
		refused int
		want    string
	}{
		{"a b=1\nc d=2", 0, ""},
		{"a b=1\nc d=2", 1, `{"code":"invalid","message":"partial write: it is wrong dropped=1"}`},
		{"a b=1\nc d=2", 2, `{"code":"invalid","message":"it is wrong dropped=2"}`},
		{"a b=1\nc d=x", 1, `{"code":"invalid","message":"unable to parse line 2: a value is no number, string or boolean dropped=2"}`},
		{"a b=1\nc d=2\ne f=3\ng,rider=x lat=1,lon=2", 2, `{"code":"invalid","message":"partial write: it is wrong dropped=2"}`},
	} {
		r := phone.Request{Method: "POST", Path: path2, Body: []byte(tt.body), Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
		var pings phone.Pings
		if err := p.Read(&r, &pings); err != nil {
			t.Fatal(err)
		}
		pings.Others.Refused, pings.Others.Why = tt.refused, "it is wrong"
		var to phone.Reply
		p.Reply(&to, &r, &phone.Outcome{Pings: &pings, Judged: make([]pingline.Verdict, len(pings.List))})
		if string(to.Body) != tt.want || (to.Status == 204) != (tt.want == "") {
			t.Errorf("%q, %d refused: %d %s, want %s", tt.body, tt.refused, to.Status, to.Body, tt.want)
		}
	}
}

// FuzzPassed passes lines on: each is one line to the decoder of InfluxDB's makers where that
// knows all of it, and ends for InfluxDB where it ends here; none is of a measurement of Pingline.
func FuzzPassed(f *testing.F) {
	for _, s := range []string{
		"a,b=c d=1\nlocation e=1", "m,t=a\\\\ b\\\\,c\\\\,d f=\"x\nlocation,rider=eve lat=1,lon=1\" 17", "a b=\"\\\\\" 1\nc d=\"\n\" 2", "\\location a=1", "a\\=b c=\"x\"\n", "pingline a=1 9",
	} {
		f.Add(s)
	}
	p := New(Config{Pass: true})
	f.Fuzz(func(t *testing.T, body string) {
		r := phone.Request{Method: "POST", Path: path1, Body: []byte(body), Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
		var pings phone.Pings
		if p.Read(&r, &pings) != nil {
			return
		}
		o := &pings.Others
		if _, most := p.Bound(&r); cap(o.Bytes)+8*cap(o.Ends) > most {
			t.Errorf("%q takes %d bytes, Bound allows %d", body, cap(o.Bytes)+8*cap(o.Ends), most)
		}
		if o.Bytes != nil && (cap(o.Bytes) < len(body) || len(o.Ends) > cap(o.Ends)) {
			t.Errorf("%q: the memory was not made for all lines", body)
		}
		from := 0
		for _, end := range o.Ends {
			line := o.Bytes[from:end]
			if at := endOf(o.Bytes[from:]); from+at+1 != end {
				t.Errorf("%q: InfluxDB sees the end of %q at %d", body, line, at)
			}
			one := ours(line)
			if len(one) != 1 || one[0] == "refused" {
				t.Errorf("%q: %q is %q", body, line, one)
			}
			if name, _, _ := strings.Cut(strings.TrimPrefix(one[0], `"`), `"`); isOurs(name) {
				t.Errorf("%q: %q is Pingline's", body, line)
			}
			from = end
		}
	})
}
