package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/ingest/auth"
)

// rules say which client certificates are let in. They do not change.
type rules struct {
	authorities []*x509.Certificate
	roots       *x509.CertPool      // of authorities
	revoked     map[string]struct{} // revocationKey
	lists       []revocations
	riders      bool

	nameless bool
}

// revocations is a list that was read.
type revocations struct {
	issuer string
	next   time.Time // when there should be another; zero: not said
}

// revocationKey tells certificates apart: serial numbers are those of an issuer (RFC 5280, 4.1.2.2).
func revocationKey(issuer []byte, serial interface{ Bytes() []byte }) string {
	return string(issuer) + "\x00" + string(serial.Bytes())
}

// by returns r with the authorities of a file.
func (r *rules) by(ca *file) (*rules, error) {
	rest, err := ca.read()
	if err != nil {
		return nil, err
	}
	next := *r
	next.roots, next.authorities = x509.NewCertPool(), nil
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("--tls-client-ca: %s: certificate %d: %w", ca.path, len(next.authorities)+1, err)
		}
		next.roots.AddCert(cert)
		next.authorities = append(next.authorities, cert)
	}
	if len(next.authorities) == 0 {
		return nil, fmt.Errorf("--tls-client-ca: no certificate in PEM form in %s", ca.path)
	}
	return &next, nil
}

// without returns r with the lists of a file, which r's authorities must have signed.
func (r *rules) without(crl *file) (*rules, error) {
	text, err := crl.read()
	if err != nil {
		return nil, err
	}
	texts := blocks(text, "X509 CRL")
	if len(texts) == 0 {
		texts = [][]byte{text}
	}
	next := *r
	next.revoked, next.lists = make(map[string]struct{}), nil
	for i, der := range texts {
		if err := next.revoke(der); err != nil {
			return nil, fmt.Errorf("--tls-client-crl: %s: list %d: %w", crl.path, i+1, err)
		}
	}
	return &next, nil
}

// blocks returns the contents of the blocks of PEM of a kind.
func blocks(text []byte, kind string) (list [][]byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return list
		}
		if block.Type == kind {
			list = append(list, block.Bytes)
		}
	}
}

// Extensions of lists that say more than which certificates of the issuer are revoked (RFC 5280, 5.2.4, 5.3.3).
var (
	deltaList   = asn1.ObjectIdentifier{2, 5, 29, 27}
	otherIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// revoke takes a list that one of the authorities has signed.
func (r *rules) revoke(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("no revocation list: %w", err)
	}
	for _, e := range list.Extensions {
		if e.Id.Equal(deltaList) {
			return errors.New("tells changes only: give the whole list")
		}
	}
	signed := errors.New("its issuer is not in --tls-client-ca: add the certificate of the issuer there")
	for _, a := range r.authorities {
		if bytes.Equal(a.RawSubject, list.RawIssuer) {
			if signed = list.CheckSignatureFrom(a); signed == nil {
				break
			}
		}
	}
	if signed != nil {
		return fmt.Errorf("of %.100q: %w", list.Issuer.String(), signed)
	}
	for _, e := range list.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Id.Equal(otherIssuer) {
				return fmt.Errorf("of %.100q: has certificates of other issuers, which is not known here", list.Issuer.String())
			}
		}
		r.revoked[revocationKey(list.RawIssuer, e.SerialNumber)] = struct{}{}
	}
	r.lists = append(r.lists, revocations{list.Issuer.String(), list.NextUpdate})
	return nil
}

// check returns the rider that a client certificate names, if they name riders, or why it is
// not let in. The certificate is the first of chain; the others lead to an authority.
func (r *rules) check(chain []*x509.Certificate, now time.Time) (rider string, refusal *auth.Denied) {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: r.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", r.refuse(causeOf(err, leaf, now), leaf, err.Error())
	}
	if !slices.ContainsFunc(paths, r.clean) {
		return "", r.refuse(auth.CertRevoked, leaf, "it was revoked, or an authority on its way was")
	}
	if !r.riders {
		return "", nil
	}
	if rider, err = riderOf(leaf); err != nil {
		return "", r.refuse(auth.CertName, leaf, err.Error())
	}
	return rider, nil
}

// clean reports whether nothing on the way from a certificate to its authority is revoked.
func (r *rules) clean(path []*x509.Certificate) bool {
	return !slices.ContainsFunc(path, func(c *x509.Certificate) bool {
		_, is := r.revoked[revocationKey(c.RawIssuer, c.SerialNumber)]
		return is
	})
}

func causeOf(err error, leaf *x509.Certificate, now time.Time) auth.Cause {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case ok && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		return auth.CertEarly
	case ok && invalid.Reason == x509.Expired:
		return auth.CertExpired
	case ok && invalid.Reason == x509.IncompatibleUsage:
		return auth.CertUsage
	}
	return auth.CertAuthority
}

func (r *rules) refuse(cause auth.Cause, leaf *x509.Certificate, why string) *auth.Denied {
	if r.nameless { // why may quote a name
		by := fmt.Sprintf("of %.100q", leaf.Issuer.String())
		if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
			by = "of its own" // the issuer has the name
		}
		return &auth.Denied{
			Cause: cause, Text: "the client certificate is refused",
			Detail: fmt.Sprintf("client certificate with serial %.60s %s", leaf.SerialNumber.Text(16), by),
		}
	}
	name := strings.Join(slices.Compact(append(sansOf(leaf), leaf.Subject.CommonName)), ", ")
	return &auth.Denied{
		Cause: cause, Name: fmt.Sprintf("%.100s", name), Text: "the client certificate is refused",
		Detail: fmt.Sprintf("client certificate of %.100q, serial %.60s of %.100q: %.300s", name, leaf.SerialNumber.Text(16), leaf.Issuer.String(), why),
	}
}

// riderOf returns the rider of a client certificate: its only name among the alternative names
// (DNS, e-mail, URI), or the common name if there is none. Where there are several, the common
// name has to say which of them it is. The common name is asked last because it often is a
// person's or a product's (RFC 9525, 2).
func riderOf(cert *x509.Certificate) (string, error) {
	all, common := sansOf(cert), cert.Subject.CommonName
	name := common
	switch {
	case len(all) == 1:
		name = all[0]
	case len(all) > 1 && !slices.Contains(all, common):
		return "", errors.New("it has several names, and the common name is none of them: no rider can be told")
	case name == "":
		return "", errors.New("it has no name")
	}
	if err := pingline.CheckID("name", name); err != nil {
		return "", fmt.Errorf("its name is no rider's: %w", err)
	}
	return name, nil
}

// sansOf returns the alternative names of a certificate that may be a rider's, each once.
func sansOf(cert *x509.Certificate) []string {
	all := slices.Concat(cert.DNSNames, cert.EmailAddresses)
	for _, u := range cert.URIs {
		all = append(all, u.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}
