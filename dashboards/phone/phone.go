// Package phone is a page that makes a browser send its position: a phone with no app.
//
// The page is built from the TypeScript in web and in clients/js by make phone, and embedded.
// Without the bundle the package compiles, and Built says so. The page asks for nothing but
// POST /v1/pings on the address that it came from, and its Content-Security-Policy forbids all
// else. It works only in a secure context, and sends only while it is in front: the page says so.
package phone

import (
	"embed"
	"errors"
	"io/fs"

	"pingline/dashboards/site"
)

//go:embed all:dist
var bundle embed.FS

// At is the path of the page; all that it loads is below it.
const At = "/phone"

// ErrNotBuilt is returned by New where the bundle is not embedded.
var ErrNotBuilt = errors.New("/phone is not in this binary: make phone, with Node, builds it")

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; manifest-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Built reports whether the bundle is embedded.
func Built() bool {
	_, err := fs.Stat(bundle, "dist/index.html.gz")
	return err == nil
}

// New returns the page and all that it loads, or ErrNotBuilt.
func New() (*site.Assets, error) {
	if !Built() {
		return nil, ErrNotBuilt
	}
	all := site.New(policy)
	err := all.AddBundle(bundle, "dist", func(name string) string {
		if name == "index.html" {
			return At
		}
		return At + "/" + name
	})
	if err != nil {
		return nil, err
	}
	all.Change(At, map[string]string{"Permissions-Policy": "geolocation=(self), screen-wake-lock=(self)"})
	// Without this, a worker is for what is below its own folder, and the page is not.
	all.Change(At+"/sw.js", map[string]string{"Service-Worker-Allowed": ".." + At})
	return all, nil
}
