package owntracks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/ingest/phone/phonetest"
)

func TestProtocol(t *testing.T) { phonetest.Run(t, Protocol) }

func FuzzProtocol(f *testing.F) { phonetest.Fuzz(f, Protocol) }

// Requests as apps and servers of others have recorded them.
func TestCases(t *testing.T) {
	const keys = "keys are asked for by the server, before the protocol"
	casetest.Run(t, Protocol, "owntracks.jsonl", casetest.Rules{
		Names:    byTopic,
		Protocol: func(c *casetest.Case) phone.Protocol { return New(sharedBy("", c.Secret)) },
		Except: map[string]string{
			"owntracks-063": "0,0 is refused in every protocol",
			"owntracks-064": "0,0 is refused in every protocol",
			"owntracks-099": keys,
			"owntracks-101": keys,
		},
	})
}

// Overland's seconds count from 2001, and only its reply is no list.
func TestOverland(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		body, reply string
		at          int64 // s
	}{
		"of Overland":            {`{"_type":"location","lat":1,"lon":2,"tst":817646390}`, `{"result":"ok"}`, 1795953590},
		"of Overland, topic":     {`{"_type":"location","lat":1,"lon":2,"tst":817646390,"topic":"owntracks/a/b"}`, `{"result":"ok"}`, 1795953590},
		"of OwnTracks":           {`{"_type":"location","lat":1,"lon":2,"tst":1795953590}`, `[]`, 1795953590},
		"with a tid":             {`{"_type":"location","lat":1,"lon":2,"tst":817646390,"tid":"an"}`, `[]`, 0},
		"with created_at":        {`{"_type":"location","lat":1,"lon":2,"tst":817646390,"created_at":1795953590}`, `[]`, 0},
		"two years old":          {`{"_type":"location","lat":1,"lon":2,"tst":750000000}`, `[]`, 0},
		"an array":               {`[{"_type":"location","lat":1,"lon":2,"tst":817646390}]`, `[]`, 1795953590},
		"another type":           {`{"_type":"lwt","tst":817646390}`, `[]`, 0},
		"the end of all numbers": {`{"_type":"location","lat":1,"lon":2,"tst":-9223372036854775808}`, `[]`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := phone.Request{Rider: "ana", Body: []byte(tt.body), Header: http.Header{}, Now: now, Limits: phone.Limits{}.WithDefaults()}
			var pings phone.Pings
			if err := Protocol.Read(&r, &pings); err != nil {
				t.Fatal(err)
			}
			if tt.at == 0 && len(pings.List) > 0 || tt.at != 0 && (len(pings.List) != 1 || pings.List[0].At != tt.at*1000) {
				t.Errorf("pings %+v, rejected %+v, want the time %d", pings.List, pings.Rejected, tt.at)
			}
			var to phone.Reply
			Protocol.Reply(&to, &r, &phone.Outcome{Pings: &pings})
			if string(to.Body) != tt.reply || to.ContentType != "application/json" {
				t.Errorf("reply %s as %s, want %s", to.Body, to.ContentType, tt.reply)
			}
		})
	}
}

// The rider of a key counts more than any name, and a key in the path is no name.
func TestNames(t *testing.T) {
	for name, tt := range map[string]struct {
		rider, query  string
		header        map[string]string
		message, want string
	}{
		"key":                {"key", "u=u&d=d", map[string]string{"X-Limit-U": "U", "X-Limit-D": "D"}, `"topic":"o/t/p","tid":"ti"`, "key/D"},
		"header":             {"", "u=u&d=d", map[string]string{"x-limit-u": "U", "x-limit-d": "D"}, `"topic":"o/t/p","tid":"ti"`, "U/D"},
		"topic":              {"", "u=u&d=d", nil, `"topic":"o/t/p","tid":"ti"`, "t/p"},
		"topic with a slash": {"", "", nil, `"topic":"/a/o/t/p"`, "t/p"},
		"query":              {"", "u=u&d=d", nil, `"tid":"ti"`, "u/d"},
		"tid":                {"", "d=d", nil, `"tid":"ti"`, "ti/d"},
		"device alone":       {"", "", map[string]string{"X-Limit-D": " D"}, `"tid":""`, "D/"},
		"topic of one name":  {"", "", nil, `"topic":"o/t","tid":"ti"`, "ti/"},
		"nothing":            {"", "", nil, `"tid":null`, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for k, v := range tt.header {
				header.Set(k, v)
			}
			r := phone.Request{
				Path: "/v1/owntracks/pl_secret", Query: tt.query, Rider: tt.rider, Header: header, Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults(),
				Body: []byte(`{"_type":"location","lat":1,"lon":2,"tst":1759999990,` + tt.message + `}`),
			}
			var pings phone.Pings
			if err := Protocol.Read(&r, &pings); err != nil {
				t.Fatal(err)
			}
			got := "missing"
			for _, p := range pings.List {
				got = p.Rider + "/" + p.Device
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	body := `{"_type":"location","_id":"0a1b2c3d","acc":12,"alt":96,"batt":81,"bs":1,"cog":204,"conn":"w","created_at":1759999999,` +
		`"lat":41.1578,"lon":-8.6291,"m":1,"t":"u","tid":"an","topic":"owntracks/ana/pixel","tst":1759999990,"vac":3,"vel":18}`
	for _, tt := range []struct{ name, body string }{{"one", body}, {"400", "[" + strings.Repeat(body+",", 399) + body + "]"}} {
		b.Run(tt.name, func(b *testing.B) {
			r := phone.Request{Body: []byte(tt.body), Header: http.Header{"X-Limit-U": {"ana"}, "X-Limit-D": {"pixel"}}, Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
			var pings phone.Pings
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.body)))
			for b.Loop() {
				if err := Protocol.Read(&r, &pings); err != nil || len(pings.List) == 0 {
					b.Fatal(err, pings.Rejected)
				}
			}
			b.ReportMetric(float64(b.N*len(pings.List))/b.Elapsed().Seconds(), "pings/s")
		})
	}
}
