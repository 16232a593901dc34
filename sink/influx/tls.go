package influx

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"pingline/sink/store"
	"pingline/sink/store/secure"
)

// check returns an error unless h can be sent; it does not quote the value.
func (h *ProxyHeader) check() error {
	switch {
	case !httpguts.ValidHeaderFieldName(h.Name):
		return errors.New("not of the form Name: value")
	case !httpguts.ValidHeaderFieldValue(h.Value):
		return fmt.Errorf("%s: the value has characters that no header may have", h.Name)
	case slices.ContainsFunc(oursToSay, func(name string) bool { return strings.EqualFold(name, h.Name) }):
		return fmt.Errorf("%s is set by Pingline itself", h.Name)
	}
	return nil
}

// oursToSay are headers that Pingline sets itself: how a body is sent, and that answers
// come as text, since they tell an operator the remedy.
var oursToSay = []string{"Content-Encoding", "Content-Length", "Transfer-Encoding", "Accept-Encoding"}

// tls returns the TLS settings of connections to host.
func (c *Config) tls(host string) *tls.Config {
	return secure.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}.Client(unsecured, host)
}

// unsecured is the error that a file of certificates or keys cannot be used.
func unsecured(err error) error {
	return &AnswerError{Kind: store.Configure, Message: err.Error(), err: err, stops: store.Credentials, advice: "correct the file; it is read again for each connection"}
}

// explain is explainTLS for a request. A server of TLS 1.3 refuses a client certificate
// after the request was sent, and the error of the write that breaks off often hides the
// reason. So explain connects once more and writes nothing: then the error has the
// reason.
func (t *transport) explain(req *http.Request, err error) error {
	said := explainTLS(err)
	var netErr net.Error
	dial := new(net.OpError)
	switch {
	case errors.As(said, new(*AnswerError)), req.URL.Scheme != "https", req.Context().Err() != nil,
		errors.As(err, &netErr) && netErr.Timeout(), errors.As(err, &dial) && dial.Op == "dial":
		return said
	}
	if proxy, err := http.ProxyFromEnvironment(req); proxy != nil || err != nil {
		return said // the server can be reached only through the proxy
	}
	if why := explainTLS(t.greet(req)); errors.As(why, new(*AnswerError)) {
		return why
	}
	return said
}

// greetTime is how long a server may take to refuse us, once the handshake is over.
const greetTime = time.Second

// greet connects to the server of a request, sends nothing, and returns the
// error with which the server refuses the connection.
func (t *transport) greet(req *http.Request) error {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTime}, Config: t.secure}
	conn, err := dialer.DialContext(req.Context(), "tcp", net.JoinHostPort(req.URL.Hostname(), cmp.Or(req.URL.Port(), "443")))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing was written
	if err := conn.SetReadDeadline(time.Now().Add(greetTime)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

const giveCertificate = "give a certificate that the server accepts with --influx-cert-file and --influx-key-file"

// explainTLS turns an error about a certificate that either side does not accept into
// an AnswerError with advice for an operator.
func explainTLS(err error) error {
	if err == nil {
		return nil
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return &AnswerError{
			Kind: store.Configure, Message: err.Error(), err: err, stops: store.Address,
			advice: "name the authority of its certificate with --influx-ca-file, or in SSL_CERT_FILE",
		}
	}
	// The server ends the connection with an alert and gives no answer.
	for _, alert := range []string{"tls: certificate required", "tls: bad certificate", "tls: unknown certificate", "tls: expired certificate", "tls: unknown certificate authority"} {
		if strings.Contains(err.Error(), "remote error: "+alert) {
			return &AnswerError{
				Kind: store.Configure, Message: err.Error(), err: err, stops: store.Credentials,
				advice: giveCertificate,
			}
		}
	}
	return err
}

// Notes returns a sentence if the server is reached, but not as it should be.
func (b *Bucket) Notes() []string {
	if !b.http.plain.Load() {
		return nil
	}
	return []string{fmt.Sprintf("%s refuses compressed writes (415): they are sent as they are, three to four times as large; let the proxy pass Content-Encoding: gzip, and restart", b.base.Host)}
}
