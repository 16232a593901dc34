package owntracks

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/secretbox"

	"pingline/ingest/phone"
	"pingline/ingest/phone/phonetest"
)

// sharedBy has the secret of a rider, or, of "", of all riders; none if the secret is "".
func sharedBy(rider, secret string) func(string) *[keySize]byte {
	return func(of string) *[keySize]byte {
		if secret == "" || rider != "" && of != rider {
			return nil
		}
		key := new([keySize]byte)
		copy(key[:], secret)
		return key
	}
}

// seal encrypts a message as an app does.
func seal(t testing.TB, secret, message string) string {
	t.Helper()
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	box := secretbox.Seal(nonce[:], []byte(message), &nonce, sharedBy("", secret)(""))
	return `{"_type":"encrypted","data":"` + base64.StdEncoding.EncodeToString(box) + `"}`
}

func asked(body string, header http.Header, query string) phone.Request {
	return phone.Request{Method: "POST", Path: "/pub", Query: query, Header: header, Body: []byte(body), Now: phonetest.Now, Limits: phone.Limits{}.WithDefaults()}
}

// A message is opened with the secret of the rider that is named outside of it, and with no other.
func TestEncrypted(t *testing.T) {
	const fix = `{"_type":"location","lat":41.15,"lon":-8.62,"tst":1759999990,"topic":"owntracks/zoe/pixel"}`
	good := seal(t, "hunter2", fix)
	ana := http.Header{"X-Limit-U": {"ana"}}
	for _, tt := range []struct {
		name, body   string
		key          func(string) *[keySize]byte
		header       http.Header
		query, rider string
		want         string
	}{
		{"by header", good, sharedBy("ana", "hunter2"), ana, "", "", "ana/pixel"},
		{"by query", good, sharedBy("ana", "hunter2"), http.Header{}, "u=ana", "", "ana/pixel"},
		{"by key", good, sharedBy("ana", "hunter2"), http.Header{}, "", "ana", "ana/pixel"},
		{"by nothing", good, sharedBy("", "hunter2"), http.Header{}, "", "", "zoe/pixel"},
		{"an array", "[" + good + "," + good + "]", sharedBy("", "hunter2"), http.Header{}, "", "", "zoe/pixel zoe/pixel"},
		{"of another rider", good, sharedBy("zoe", "hunter2"), ana, "", "", errNoSecret.Error()},
		{"no secret", good, sharedBy("", ""), ana, "", "", errNoSecret.Error()},
		{"a wrong secret", good, sharedBy("ana", "hunter3"), ana, "", "", errSealed.Error()},
		{"a changed box", strings.Replace(good, `"}`, `AAAA"}`, 1), sharedBy("ana", "hunter2"), ana, "", "", errSealed.Error()},
		{"no base64", `{"_type":"encrypted","data":"***"}`, sharedBy("ana", "hunter2"), ana, "", "", errSealed.Error()},
		{"less than a nonce", `{"_type":"encrypted","data":"AAAA"}`, sharedBy("ana", "hunter2"), ana, "", "", errSealed.Error()},
		{"no data", `{"_type":"encrypted"}`, sharedBy("ana", "hunter2"), ana, "", "", errSealed.Error()},
		{"another type inside", seal(t, "hunter2", `{"_type":"lwt","tst":1}`), sharedBy("ana", "hunter2"), ana, "", "", ""},
		{"encrypted twice", seal(t, "hunter2", good), sharedBy("ana", "hunter2"), ana, "", "", ""},
		{"no JSON inside", seal(t, "hunter2", "hello"), sharedBy("ana", "hunter2"), ana, "", "", "the body is not JSON"},
		{"a fix without a time", seal(t, "hunter2", `{"_type":"location","lat":1,"lon":2}`), sharedBy("ana", "hunter2"), ana, "", "", "missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New(tt.key)
			r := asked(tt.body, tt.header, tt.query)
			r.Rider = tt.rider
			var pings phone.Pings
			if err := p.Read(&r, &pings); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ping := range pings.List {
				got = append(got, ping.Rider+"/"+ping.Device)
			}
			for _, rejected := range pings.Rejected {
				got = append(got, rejected.Reason)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			to := phone.Reply{Status: 200}
			p.Reply(&to, &r, &phone.Outcome{Pings: &pings})
			if to.Status != 200 || string(to.Body) != "[]" {
				t.Errorf("answered %d %s", to.Status, to.Body)
			}
		})
	}
}

// The memory of an encrypted message is charged, however its type is written.
func TestMemoryOfEncrypted(t *testing.T) {
	inside := `{"_type":"location","lat":1,"lon":2,"tst":1759999990,` + strings.Repeat(`"\n":0,`, 20_000) + `"tid":"an"}`
	sealed := seal(t, "hunter2", inside)
	p := New(sharedBy("", "hunter2"))
	for _, body := range []string{sealed, strings.Replace(sealed, "encrypted", `\u0065ncrypted`, 1)} {
		r := asked(body, http.Header{}, "")
		_, most := p.Most(&r)
		var pings phone.Pings
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := p.Read(&r, &pings); err != nil || len(pings.List) != 1 {
			t.Fatal(err, pings.Rejected)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(most) || took < uint64(len(body)) {
			t.Errorf("%.30s takes %d bytes, Bound says %d", body, took, most)
		}
	}
}

// A message is the same ping whether it is encrypted or not, and stays within its bounds.
func FuzzEncrypted(f *testing.F) {
	f.Add(`{"_type":"location","lat":41.15,"lon":-8.62,"tst":1759999990,"topic":"owntracks/zoe/pixel","vel":18,"batt":81}`)
	f.Add(`{"_type":"location","\u006cat":"1","lon":2,"tst":"1759999990","tid":"a\u0062"}`)
	f.Add(`{"_type":"encrypted","data":"AAAA"}`)
	f.Add(`X0,68E77855,k,30365854,-7575769,26,4,7,5,872`)
	p := New(sharedBy("", "hunter2"))
	f.Fuzz(func(t *testing.T, message string) {
		plain, boxed := asked(message, http.Header{}, ""), asked(seal(t, "hunter2", message), http.Header{}, "")
		var want, got phone.Pings
		err := p.Read(&plain, &want)
		if serr := p.Read(&boxed, &got); serr != nil {
			t.Fatalf("%q is refused: %v", message, serr)
		}
		if pings, _ := p.Most(&boxed); got.Received > pings {
			t.Errorf("%q is %d pings, Bound says %d", message, got.Received, pings)
		}
		var is struct {
			Type any `json:"_type"`
		}
		if err != nil || json.Unmarshal([]byte(message), &is) != nil || is.Type != "location" {
			if len(got.List) > 0 && len(want.List) == 0 {
				t.Errorf("%q is a ping only if it is encrypted: %+v", message, got.List)
			}
			return
		}
		if !slices.Equal(got.List, want.List) || fmt.Sprint(got.Rejected) != fmt.Sprint(want.Rejected) {
			t.Errorf("%q is %+v %v if it is encrypted, else %+v %v", message, got.List, got.Rejected, want.List, want.Rejected)
		}
	})
}

// FuzzSealed fuzzes the protocol with a secret.
func FuzzSealed(f *testing.F) { phonetest.Fuzz(f, New(sharedBy("", "hunter2"))) }

func BenchmarkDecodeEncrypted(b *testing.B) {
	r := asked(seal(b, "hunter2", `{"_type":"location","_id":"0a1b2c3d","acc":12,"batt":81,"cog":204,"lat":41.1578,"lon":-8.6291,"topic":"owntracks/ana/pixel","tst":1759999990,"vel":18}`), http.Header{}, "")
	p := New(sharedBy("", "hunter2"))
	var pings phone.Pings
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Body)))
	for b.Loop() {
		if err := p.Read(&r, &pings); err != nil || len(pings.List) != 1 {
			b.Fatal(err, pings.Rejected)
		}
	}
}
