package dial

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pingline/ingest/server/certs/certstest"
)

// A server whose certificate an authority of ours vouches for, and that asks for one, is
// reached with both, and not without either.
func TestServerThatAsksForACertificate(t *testing.T) {
	ca, others := certstest.New(t, "ours"), certstest.New(t, "others")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.TLS.PeerCertificates[0].Subject.CommonName))
	}))
	own := ca.Server()
	pair, err := tls.X509KeyPair(own.Text, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := ca.Shown().RootCAs
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	ana := ca.Client("ana")
	trust, cert, key := ca.File("ca", ca.Text()), ca.File("cert", ana.Text), ca.File("key", ana.Key)
	for _, tt := range []struct {
		name  string
		flags Flags
		want  string // in the error; "": reached
	}{
		{"both", Flags{CA: trust, Cert: cert, Key: key}, ""},
		{"no certificate", Flags{CA: trust}, "certificate required"},
		{"no authority", Flags{Cert: cert, Key: key}, "unknown authority"},
		{"another authority", Flags{CA: others.File("ca", others.Text()), Cert: cert, Key: key}, "unknown authority"},
		{"nothing", Flags{}, "unknown authority"},
	} {
		transport, err := tt.flags.Transport()
		if err != nil {
			t.Fatal(err)
		}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if c := http.DefaultTransport.(*http.Transport).TLSClientConfig; c != nil && (c.RootCAs != nil || c.GetClientCertificate != nil) {
		t.Error("the transport of all others is changed")
	}
	both := Flags{CA: trust, Cert: cert, Key: key}
	if args := both.Args(); args != " --tls-ca="+trust+" --tls-cert="+cert+" --tls-key="+key || new(Flags).Args() != "" {
		t.Errorf("args %q", args)
	}
}

// A wrong file is said by its flag, and no key is quoted.
func TestFilesOfNoUse(t *testing.T) {
	ca := certstest.New(t, "ours")
	ana, ben := ca.Client("ana"), ca.Client("ben")
	cert, key, other := ca.File("cert", ana.Text), ca.File("key", ana.Key), ca.File("other", ben.Key)
	for _, tt := range []struct {
		flags Flags
		want  string
	}{
		{Flags{CA: ca.Path("none")}, "--tls-ca: open "},
		{Flags{CA: key}, "--tls-ca: no certificate in PEM form in " + key},
		{Flags{Cert: cert, Key: other}, "--tls-key " + other},
		{Flags{Cert: ca.Path("none"), Key: key}, "--tls-cert " + ca.Path("none")},
	} {
		_, err := tt.flags.TLS()
		if err == nil || !strings.HasPrefix(err.Error(), "--tls-") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%+v: %v, want %q", tt.flags, err, tt.want)
		}
		if err := tt.flags.Check("HTTPS://localhost"); err != nil {
			t.Errorf("%+v: %v", tt.flags, err)
		}
	}
	for _, lone := range []Flags{{Cert: cert}, {Key: key}} {
		if err := lone.Check("https://localhost"); err == nil || !strings.Contains(err.Error(), "give both or neither") {
			t.Errorf("%+v: %v", lone, err)
		}
	}
}

// A flag that would be passed over is an error.
func TestFlagsBesideAServerWithoutTLS(t *testing.T) {
	for _, server := range []string{"http://localhost:8080", "", "http"} {
		for flag, flags := range map[string]Flags{"--tls-ca: ": {CA: "ca.pem"}, "--tls-cert: ": {Cert: "cert.pem", Key: "key.pem"}} {
			if err := flags.Check(server); err == nil || !strings.HasPrefix(err.Error(), flag) {
				t.Errorf("%+v for %q: %v", flags, server, err)
			}
		}
		if err := new(Flags).Check(server); err != nil {
			t.Errorf("no flags for %q: %v", server, err)
		}
	}
}

// Of an answer that quotes the request nothing of a header's value is left, in whole or in part.
func TestHide(t *testing.T) {
	for _, tt := range []struct{ value, answer, want string }{
		{"Bearer pl_0123456789", "no: Authorization: Bearer pl_0123456789\r\n", "no: Authorization: …\r\n"},
		{"Bearer pl_0123456789", `{"token":"pl_0123456789"}`, `{"token":"…"}`},
		{"hunter2-and-more", "hunter2-and-more, hunter2-and-more", "…, …"},
		{"Bearer", "Bearer is missing", "Bearer is missing"},
		{"", "nothing", "nothing"},
	} {
		if got := Hide(tt.answer, tt.value); got != tt.want {
			t.Errorf("%q without %q: %q, want %q", tt.answer, tt.value, got, tt.want)
		}
	}
}
