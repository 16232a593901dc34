// Package setup is pingline phone: it makes a key for the phone of a rider, and says how to
// give it to an app that people have: what to type, a link that the app opens, a file, and a
// code to be scanned.
//
// It needs no server to run, and does not look whether there is one at the URL. What it
// prints has the key in it.
package setup

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/mdp/qrterminal/v3"
	"rsc.io/qr"

	"pingline"
	"pingline/ingest/auth"
	"pingline/internal/command"
	"pingline/internal/keyring"
)

// PhoneCmds are the commands of pingline phone.
type PhoneCmds struct {
	Add addPhoneCmd `cmd:"" help:"Make a key for a rider's phone, and say how to set up the app that sends."`
}

type addPhoneCmd struct {
	Rider  string   `arg:"" help:"The rider, as in rider_id."`
	App    string   `required:"" placeholder:"APP" help:"The app: owntracks, overland, traccar, gpslogger, osmand, or browser for none."`
	URL    string   `required:"" placeholder:"URL" help:"Where the phone reaches the server, such as https://pings.example.org; for owntracks also mqtts://pings.example.org:8883."`
	Keys   string   `required:"" placeholder:"FILE" help:"File of keys, as of pingline serve --keys; made if missing."`
	Device string   `default:"phone" help:"Name of the phone, where the app has a place for one."`
	Name   string   `help:"Name of the key (default: the rider, with - for what names may not have)."`
	Png    string   `placeholder:"FILE" help:"Write the code to be scanned to a picture, too."`
	Friend []string `sep:"none" placeholder:"RIDER" help:"Rider whose newest position the app shows, OwnTracks by HTTP alone. Repeated."`
	Out    string   `placeholder:"FILE" help:"Write the app's file of settings, for apps that have one."`
	NoQR   bool     `name:"no-qr" help:"Print no code to be scanned."`
}

// Validate is called by kong.
func (c *addPhoneCmd) Validate() error {
	if err := pingline.CheckID(pingline.KeyRider.String(), c.Rider); err != nil {
		return fmt.Errorf("RIDER: %w", err)
	}
	if strings.HasSuffix(c.Rider, "*") { // in a file of keys it would be a prefix
		return errors.New("RIDER: a phone sends for a single rider, and a name with * at its end is all riders that begin so: take another name, or make the key with pingline key add")
	}
	if !slices.Contains(appNames(), c.App) {
		return fmt.Errorf("--app: %q is none of %s", c.App, strings.Join(appNames(), ", "))
	}
	u, err := url.Parse(c.URL)
	_, _, _, mqtt := broker(c.URL)
	if mqtt && c.App != "owntracks" {
		return fmt.Errorf("--url: of these apps only owntracks speaks MQTT, %s takes a URL such as https://pings.example.org", c.App)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" && !mqtt || u.Host == "" || strings.ContainsAny(c.URL, " \t") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("--url: %q is not a URL such as https://pings.example.org", c.URL)
	}
	if len(c.Friend) > 0 && (c.App != "owntracks" || mqtt) {
		return fmt.Errorf("--friend: only owntracks with a URL of HTTP shows friends, not %s at %s", c.App, c.URL)
	}
	if c.App == byBrowser && plain(c.URL) {
		return fmt.Errorf("--url: %q is not https, and browsers give positions to no other page", c.URL)
	}
	return nil
}

// Run makes the key, and prints the sheet.
func (c *addPhoneCmd) Run(p *command.Program) error {
	a := newSender{server: strings.TrimRight(c.URL, "/"), rider: c.Rider, device: c.Device, key: "KEY"}
	form := apps[slices.Index(appNames(), c.App)]
	if plain := form.sheet(a); c.Png != "" && plain.link == "" {
		return command.Unusable(fmt.Errorf("--png: %s opens no link, so there is no code to scan", form.title))
	} else if c.Out != "" && plain.file == "" {
		return command.Unusable(fmt.Errorf("--out: %s has no file of settings", form.title))
	}
	row := auth.KeyRow{Name: c.Name, Scopes: []string{"write"}, Riders: []string{c.Rider}, Friends: c.Friend}
	if row.Name == "" {
		row.Name = nameOf(c.Rider)
	}
	if err := pingline.CheckName("--name", row.Name); err != nil {
		return command.Unusable(err)
	}
	// The files first: a key whose sheet cannot be written would have to be revoked.
	png, err := create("--png", c.Png)
	if err != nil {
		return command.Unusable(err)
	}
	out, err := create("--out", c.Out)
	if err != nil {
		return errors.Join(command.Unusable(err), png.drop())
	}
	if a.key, err = keyring.Add(c.Keys, row, 0); err != nil {
		return errors.Join(err, png.drop(), out.drop())
	}
	s := form.sheet(a)
	fmt.Fprintf(p.Stderr, "a key named %s was added to %s: it sends as %s, and %s; it is not shown again\n", row.Name, c.Keys, c.Rider, reads(c.Friend))
	if plain(a.server) {
		fmt.Fprintln(p.Stderr, "warning: without TLS others can read the key and the positions on their way; phones may refuse it")
	}
	fmt.Fprintf(p.Stdout, "%s\n\n", form.title)
	for _, step := range s.steps {
		fmt.Fprintf(p.Stdout, "  %s\n", step)
	}
	if s.link != "" {
		fmt.Fprintf(p.Stdout, "\nOr open this link on the phone:\n\n%s\n", s.link)
		if !c.NoQR {
			fmt.Fprint(p.Stdout, "\nOr scan it:\n\n")
			qrterminal.GenerateHalfBlock(s.link, qrterminal.L, p.Stdout)
		}
	}
	return errors.Join(png.picture(p, s.link), out.write(p, []byte(s.file)))
}

// reads describes the rights of a phone to read.
func reads(friends []string) string {
	if len(friends) == 0 {
		return "reads nothing"
	}
	return "is shown where " + strings.Join(friends, ", ") + " was last"
}

// secretFile is a file that is made for its owner alone: the key will be in it. Nil is none.
type secretFile struct {
	flag string
	*os.File
}

// create makes a file, which must not be there; "" is none.
func create(flag, path string) (*secretFile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return &secretFile{flag, f}, nil
}

// drop removes the file.
func (f *secretFile) drop() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// picture writes the code of a link.
func (f *secretFile) picture(p *command.Program, link string) error {
	if f == nil {
		return nil
	}
	code, err := qr.Encode(link, qr.M)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.flag, err), f.drop())
	}
	code.Scale = 6
	return f.write(p, code.PNG())
}

func (f *secretFile) write(p *command.Program, content []byte) error {
	if f == nil {
		return nil
	}
	_, err := f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", f.flag, err)
	}
	fmt.Fprintf(p.Stderr, "wrote %s; it has the key in it\n", f.Name())
	return nil
}

// nameOf returns the name of a key for a rider, whose id may have what such a name may not.
func nameOf(rider string) string {
	return strings.Map(func(r rune) rune {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-", r) {
			return '-'
		}
		return r
	}, rider)
}

// plain reports whether a URL is of plain HTTP, and not of this machine.
func plain(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "mqtt" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && !ip.IsLoopback()
}
