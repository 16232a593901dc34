package node

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/secretbox"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/owntracks"
	"pingline/ingest/server/framing"
)

const (
	mostRequest = 64<<10 - 1 // bytes of body, query and path
	mostMemory  = 1 << 20    // bytes that reading it may allocate
)

// costly is a request that may cost its protocol much.
type costly struct {
	name     string
	protocol *phone.Protocol
	phone.Request
}

type costlyList []costly

// add appends a request, cut to just under 64 KiB, and its query to what a connection lets
// through.
func (all *costlyList) add(name string, p *phone.Protocol, r phone.Request) {
	room := mostRequest - len(r.Path)
	r.Body = r.Body[:min(len(r.Body), room)]
	r.Query = r.Query[:min(len(r.Query), room-len(r.Body), framing.HeadBytes-len("POST ?")-len(r.Path)-len(" HTTP/1.1\r\nHost: a\r\n\r\n"))]
	if parts := strings.SplitAfterN(r.Query, "&", framing.MaxFields+1); len(parts) > framing.MaxFields {
		r.Query = strings.TrimSuffix(strings.Join(parts[:framing.MaxFields], ""), "&")
	}
	r.Now, r.Limits = time.Now(), phone.Limits{}.WithDefaults()
	if r.Header == nil {
		r.Header = headerOf{}
	}
	*all = append(*all, costly{p.Name + ": " + name, p, r})
}

// filled is open, as many of items as there is room for, with commas, and closing.
func filled(open, item, closing string) []byte {
	n := (mostRequest - 200 - len(open) - len(closing)) / (len(item) + 1)
	return []byte(open + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + closing)
}

// costlyLists are requests of just under 64 KiB.
var costlyLists = map[string]func(t testing.TB) costlyList{"harmful": harmfulRequests, "recorded": recordedRequests}

// harmfulRequests are such as somebody would send to each protocol who means harm.
func harmfulRequests(testing.TB) (all costlyList) {
	now := time.Now()
	table := append([]phone.Protocol(nil), protocols...)
	var key [32]byte
	copy(key[:], "secret")
	table = append(table, owntracks.New(func(string) *[32]byte { return &key }))
	for i := range table {
		p := &table[i]
		method, path := phone.Route(p.Routes[0])
		if method == "*" {
			method = "POST"
		}
		path = strings.NewReplacer("{app}", "traccar", "{key}", "key", "{device}", "").Replace(path)
		base := phone.Request{Method: method, Path: path}
		for name, body := range harmful(now) {
			r := base
			r.Body = body
			all.add(name, p, r)
			if r.Body = nil; !bytes.ContainsAny(body, "{[") {
				r.Query = string(body)
				all.add(name+", in the query", p, r)
			}
		}
	}
	var nonce [24]byte
	for name, body := range harmful(now) {
		if len(body) > 47<<10 { // base64 of the box is to fit
			body = append(body[:47<<10:47<<10], `"}]}`...)
		}
		box := secretbox.Seal(nonce[:], body, &nonce, &key)
		all.add("encrypted "+name, &table[len(table)-1], phone.Request{
			Method: "POST", Path: "/v1/owntracks", Body: []byte(`{"_type":"encrypted","data":"` + base64.StdEncoding.EncodeToString(box) + `"}`),
		})
	}
	return all
}

// recordedRequests are those of real apps, repeated in several ways.
func recordedRequests(t testing.TB) (all costlyList) {
	t.Helper()
	for _, f := range recorded {
		for _, c := range casetest.Load(t, f.file) {
			r := c.Ours(func(c *casetest.Case) string {
				if f.route == "" {
					return c.Request.Path
				}
				return f.route
			})
			p := protocolOf(t, &r)
			text := string(r.Body)
			for name, grown := range map[string][]byte{
				"in an array":   filled("[", text, "]"),
				"on lines":      bytes.ReplaceAll(filled("", text, ""), []byte("},{"), []byte("}\n{")),
				"in locations":  filled(`{"locations":[`, text, "]}"),
				"as parameters": []byte(strings.Repeat(text+"&", mostRequest/(len(text)+1))),
			} {
				big := r
				big.Body = grown
				all.add(c.ID+" "+name, p, big)
			}
			big := r
			big.Query = strings.Repeat(r.Query+"&", mostRequest/(len(r.Query)+1))
			all.add(c.ID+" with its query again and again", p, big)
			// The items of its lists, again and again.
			for _, list := range []string{"locations", "points", "location"} {
				before, items, ok := strings.Cut(text, `"`+list+`":[`)
				if end := strings.LastIndexByte(items, ']'); !ok || end < 0 {
					if before, items, ok = strings.Cut(text, `"`+list+`": [`); !ok {
						continue
					}
				}
				if end := strings.LastIndexByte(items, ']'); end > 0 {
					big := r
					big.Body = filled(before+`"`+list+`":[`, items[:end], items[end:])
					all.add(c.ID+" with its items again and again", p, big)
				}
			}
		}
	}
	return all
}

// harmful are bodies that cost a careless reader much.
func harmful(now time.Time) map[string][]byte {
	at := now.Add(-time.Hour).Unix()
	feature := fmt.Sprintf(`{"geometry":{"coordinates":[1,1]},"properties":{"timestamp":%d,"device_id":"a"}}`, at)
	message := fmt.Sprintf(`{"_type":"location","lat":1,"lon":1,"tst":%d,"tid":"a"}`, at)
	return map[string][]byte{
		"empty objects":              filled("[", "{}", "]"),
		"empty arrays":               filled("[", "[]", "]"),
		"empty locations":            filled(`{"locations":[`, "{}", "]}"),
		"locations that are none":    filled(`{"locations":[`, "0", "]}"),
		"short features":             filled(`{"locations":[`, feature, "]}"),
		"features without a time":    filled(`{"locations":[`, `{"geometry":{"coordinates":[1,1]}}`, "]}"),
		"features with nothing":      filled(`{"locations":[`, `{"geometry":{"coordinates":[]}}`, "]}"),
		"positions of one digit":     filled(`{"locations":[`, `{"geometry":{"coordinates":0}}`, "]}"),
		"short points":               filled(`{"points":[`, fmt.Sprintf("[1,1,%d]", at), "]}"),
		"points of one digit":        filled(`{"points":[`, "[1]", "]}"),
		"points without a time":      filled(`{"points":[`, "[1,1]", "]}"),
		"points too old":             filled(`{"points":[`, "[1,1,1]", "]}"),
		"empty points":               filled(`{"points":[`, "{}", "]}"),
		"short messages":             filled("[", message, "]"),
		"messages with nothing":      filled("[", `{"_type":"location"}`, "]"),
		"encrypted with nothing":     filled("[", `{"_type":"encrypted"}`, "]"),
		"encrypted with little":      filled("[", `{"_type":"encrypted","data":"AAAA"}`, "]"),
		"short coords":               filled(`{"device_id":"a","location":[`, fmt.Sprintf(`{"coords":{"latitude":1,"longitude":1},"timestamp":%d}`, at), "]}"),
		"empty coords":               filled(`{"device_id":"a","location":[`, `{"coords":{}}`, "]}"),
		"nobody's coords":            filled(`{"location":[`, `{"coords":{}}`, "]}"),
		"short parameters":           filled(`[`, fmt.Sprintf(`{"id":"a","lat":1,"lon":1,"timestamp":%d}`, at), "]"),
		"parameters of one digit":    filled("[", `{"id":"a","lat":1}`, "]"),
		"native pings":               filled("[", fmt.Sprintf(`{"rider_id":"a","ts":%d000,"lat":1,"lon":1}`, at), "]"),
		"native pings too old":       filled("[", `{"rider_id":"a","ts":1,"lat":1,"lon":1}`, "]"),
		"lines of nothing":           bytes.Repeat([]byte("{}\n"), mostRequest/3),
		"lines that are none":        bytes.Repeat([]byte("x\n"), mostRequest/2),
		"an escaped key":             []byte(`{"` + strings.Repeat(`\u0041`, mostRequest/6-10) + `":1}`),
		"escaped keys":               filled("{", `"\u0041":1`, "}"),
		"an escaped text":            []byte(`{"_type":"` + strings.Repeat(`\u0041`, mostRequest/6-10) + `"}`),
		"escaped names":              filled("[", `{"_type":"location","lat":1,"lon":1,"tid":"\u0041","tst":`+fmt.Sprint(at)+`}`, "]"),
		"escaped times":              filled(`{"locations":[`, `{"geometry":{"coordinates":[1,1]},"properties":{"timestamp":"2\u0030"}}`, "]}"),
		"one key again and again":    filled("{", `"lat":1`, "}"),
		"one name again and again":   filled("{", `"device_id":"a"`, "}"),
		"a location again and again": filled("{", `"location":{}`, "}"),
		"coords again and again":     filled("{", `"coords":{}`, "}"),
		"points again and again":     filled("{", `"points":[]`, "}"),
		"locations, again and again": filled("{", `"locations":[{}]`, "}"),
		"a long number":              []byte(`{"lat":` + strings.Repeat("1", mostRequest-100) + `}`),
		"a long text":                []byte(`{"lat":"` + strings.Repeat("1", mostRequest-100) + `"}`),
		"long numbers":               filled(`{"lat":1,"lon":1`, `,"lat":0.`+strings.Repeat("1", 700), "}"),
		"long numbers that are none": filled("{", `"lat":"`+strings.Repeat("9", 400)+`e-`+strings.Repeat("9", 300)+`"`, "}"),
		"numbers hard to round":      filled("{", `"lat":9007199254740993.0000000000000000000000000000000000000000000000000000000001`, "}"),
		"short hard numbers":         filled("{", `"lat":4503599627370497.5`, "}"),
		"numbers far below 1":        filled("{", `"lat":1e-320`, "}"),
		"points hard to round":       filled(`{"points":[`, `[4503599627370497.5,1e-320,1]`, "]}"),
		"pings hard to round":        filled("[", `{"rider_id":"a","ts":1,"lat":4503599627370497.5,"lon":1e-320}`, "]"),
		"deep arrays":                bytes.Repeat([]byte("["), mostRequest),
		"deep objects":               bytes.Repeat([]byte(`{"a":`), mostRequest/5),
		"not too deep":               filled("[", strings.Repeat("[", 60)+strings.Repeat("]", 60), "]"),
		"white space":                bytes.Repeat([]byte(" "), mostRequest),
		"ampersands":                 bytes.Repeat([]byte("&"), mostRequest),
		"short parameters of a form": bytes.Repeat([]byte("a&"), mostRequest/2),
		"escapes of a form":          []byte("id=" + strings.Repeat("%41", mostRequest/3-10)),
		"escaped keys of a form":     bytes.Repeat([]byte("%41=1&"), mostRequest/6),
		"escapes that are none":      bytes.Repeat([]byte("%&"), mostRequest/2),
		"escapes cut off":            bytes.Repeat([]byte("%zz=%zz&"), mostRequest/8),
		"latitudes":                  bytes.Repeat([]byte("lat=1&"), mostRequest/6),
		"locations of a form":        bytes.Repeat([]byte("location=1,1&"), mostRequest/13),
		"long latitudes":             bytes.Repeat([]byte("lat=0."+strings.Repeat("1", 700)+"&"), mostRequest/707),
		"sentences":                  bytes.Repeat([]byte("gprmc=$GPRMC,082202.0,A,5006.747329,N,01416.512315,E,0.000,,131018&"), mostRequest/68),
		"a sentence of commas":       []byte("id=a&gprmc=" + strings.Repeat(",", mostRequest-20)),
		"alarms":                     []byte("id=a&lat=1&lon=1&alarm=" + strings.Repeat(",", mostRequest-40)),
		"topics":                     []byte(`{"_type":"location","lat":1,"lon":1,"topic":"` + strings.Repeat("/", mostRequest-100) + `"}`),
		"a line of CSV":              []byte("a,5e,t," + strings.Repeat("1,", mostRequest/2-10)),
	}
}

// Reading a request under 64 KiB takes at most a mebibyte of memory, whatever is in it, and
// although nothing of an earlier request is used again.
func TestRequestsTakeLittleMemory(t *testing.T) {
	for name, list := range costlyLists {
		t.Run(name, func(t *testing.T) {
			all := list(t)
			most, worst := uint64(0), ""
			for i := range all {
				r := &all[i]
				size := readCost(r)
				if size > mostMemory {
					t.Errorf("%s: %d bytes of memory for %d bytes of body and %d of query", r.name, size, len(r.Body), len(r.Query))
				}
				if size > most {
					most, worst = size, r.name
				}
			}
			t.Logf("%d requests; the most is %d KiB: %s", len(all), most>>10, worst)
		})
	}
}

// readCost returns how many bytes reading a request allocates: its list of pings included.
func readCost(r *costly) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var pings phone.Pings
	err := r.protocol.Read(&r.Request, &pings)
	var to phone.Reply
	r.protocol.Reply(&to, &r.Request, &phone.Outcome{Err: err, Pings: &pings})
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
