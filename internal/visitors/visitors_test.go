package visitors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pingline/dashboards/phone"
)

// entrance is an Entrance to a node that answers with the path that it is asked for.
func entrance(t *testing.T, listen string) (*Entrance, *http.Client) {
	t.Helper()
	if !phone.Built() {
		t.Skip("no bundle of the page for phones: make phone builds it")
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "node "+r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
	}))
	t.Cleanup(node.Close)
	a, err := Open(Config{Listen: listen, To: node.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(a.cert.pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	return a, &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The certificate is for the address, and what is passed on is the page and, with the key, what it
// sends: nothing that reads, and the key does not go on.
func TestOnlyThePageAndItsPings(t *testing.T) {
	a, client := entrance(t, "127.0.0.1:0")
	for _, tt := range []struct {
		method, path, key string
		status            int
		says              string
	}{
		{"GET", "/phone", "", 200, "node /phone "},
		{"GET", "/phone/sw.js", "", 200, "node /phone/sw.js "},
		{"POST", "/v1/pings?verdicts=1", a.key, 200, "node /v1/pings?verdicts=1 "},
		{"POST", "/v1/pings?verdicts=1", "other", 401, `{"error":"the key is of another demo: scan the code again"}`},
		{"POST", "/v1/pings?key=" + a.key, "", 401, `{"error":"the key is of another demo: scan the code again"}`},
		{"GET", "/v1/riders/ana", a.key, 404, "404 page not found\n"},
		{"GET", "/v1/pings", a.key, 405, "Method Not Allowed\n"},
		{"GET", "/map/settings.json", "", 404, "404 page not found\n"},
		{"GET", "/phone/../v1/status", a.key, 307, "<a href=\"/v1/status\">Temporary Redirect</a>.\n\n"},
		{"GET", "/", "", 302, "<a href=\"/phone\">Found</a>.\n\n"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+a.ln.Addr().String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.key != "" {
			req.Header.Set("Authorization", "Bearer "+tt.key)
		}
		r, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != tt.status || string(text) != tt.says {
			t.Errorf("%s %s with %q: %d %q, want %d %q; %v", tt.method, tt.path, tt.key, r.StatusCode, text, tt.status, tt.says, err)
		}
	}
}

// The code has all that the page needs, where a phone can reach it; elsewhere there is none, and why.
func TestCodeThatIsPrinted(t *testing.T) {
	a, _ := entrance(t, "127.0.0.1:0")
	u, err := url.Parse(a.link("192.168.1.5:8443"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := url.ParseQuery(u.Fragment)
	if err != nil || u.Path != "/phone" || u.RawQuery != "" || given.Get("rider") != "guest-*" || given.Get("key") != a.key || len(a.key) != 24 {
		t.Errorf("the link is %v, %v", u, err)
	}
	for _, host := range []string{"192.168.1.5:8443", ""} {
		a.host = host
		var said strings.Builder
		a.Print(&said)
		for line := range strings.Lines(said.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("a line has %d characters: %s", n, line)
			}
		}
		if strings.Contains(said.String(), "█") != (host != "") || strings.Contains(said.String(), "no code to scan") != (host == "") {
			t.Errorf("with host %q it says\n%s", host, &said)
		}
		t.Log("\n" + said.String())
	}
}

func TestWhereAPhoneReachesThisMachine(t *testing.T) {
	home := net.IPv4(192, 168, 1, 5)
	for _, tt := range []struct {
		listens net.IP
		around  surroundings
		want    string // address, or the beginning of the reason
	}{
		{net.IPv6zero, surroundings{route: home}, "192.168.1.5"},
		{net.IPv4zero, surroundings{route: home}, "192.168.1.5"},
		{net.IPv4(10, 0, 0, 7), surroundings{route: home}, "10.0.0.7"},
		{net.IPv4(10, 0, 0, 7), surroundings{container: true}, "10.0.0.7"}, // somebody knows better
		{net.IPv4(127, 0, 0, 1), surroundings{route: home}, "--phone-listen"},
		{net.IPv6zero, surroundings{}, "this machine is in no network"},
		{net.IPv6zero, surroundings{route: net.IPv4(127, 0, 0, 1)}, "this machine is in no network"},
		{net.IPv6zero, surroundings{route: home, container: true}, "this is a container"},
		{net.IPv6zero, surroundings{route: home, wsl: true}, "this is Linux in Windows"},
	} {
		ip, why := reach(tt.listens, tt.around)
		if got := map[bool]string{true: ip.String(), false: why}[why == ""]; !strings.HasPrefix(got, tt.want) {
			t.Errorf("%v, %+v: %s, want %s", tt.listens, tt.around, got, tt.want)
		}
	}
}

// A phone takes a certificate for 825 days at most, and one that is not from the future by its clock.
func TestCertificateForPhones(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c, err := newCertificate(net.IPv4(192, 168, 1, 5), now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(c.pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.VerifyHostname("192.168.1.5"); err != nil || leaf.NotBefore.After(now.Add(-time.Minute)) || leaf.NotAfter.Sub(leaf.NotBefore) > 825*24*time.Hour {
		t.Errorf("%v, from %v to %v", err, leaf.NotBefore, leaf.NotAfter)
	}
}

func TestNoEntranceIsNone(t *testing.T) {
	var a *Entrance
	var said strings.Builder
	a.Print(&said)
	if err := a.Run(t.Context()); err != nil || a.Close() != nil || said.Len() > 0 {
		t.Errorf("it says %q, %v", &said, err)
	}
}
