// Package keyring is pingline key: it adds, lists, revokes and rotates the keys of a file,
// which pingline serve reads again when it changes.
//
// A key is printed when it is made, and is nowhere else: the file has its hash. The package
// does not tell a server that the file has changed, and needs none to run.
package keyring

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/privacy"
	"pingline/internal/command"
)

// KeyCmds are the commands of pingline key.
type KeyCmds struct {
	Add    addKeyCmd    `cmd:"" help:"Make a key, and print it, once."`
	List   listKeysCmd  `cmd:"" help:"List the keys: names and rights, not the keys themselves."`
	Revoke revokeKeyCmd `cmd:"" help:"Let nobody in with a key any more."`
	Rotate rotateKeyCmd `cmd:"" help:"Make another key with the rights of one, and print it, once."`

	Pseudonyms pseudonymsCmd `cmd:"" help:"Make the key of pseudonyms, for pingline serve --pseudonyms."`
}

// keyFlags name the file.
type keyFlags struct {
	Keys string `required:"" placeholder:"FILE" help:"File of keys, as of pingline serve --keys; made if missing."`
}

// change edits the file. An error that edit returns is of the command line.
func (f *keyFlags) change(edit func(keys []auth.KeyRow, now time.Time) ([]auth.KeyRow, error)) error {
	now := time.Now().UTC().Truncate(time.Second)
	if err := auth.ChangeKeys(f.Keys, func(keys []auth.KeyRow) ([]auth.KeyRow, error) { return edit(keys, now) }); err != nil {
		return command.Unusable(err)
	}
	return nil
}

type addKeyCmd struct {
	keyFlags `embed:""`

	Name    string        `arg:"" help:"Name of the key, as the log tells it: such as a rider, a service or a person."`
	Rider   []string      `placeholder:"R|PREFIX*" help:"Riders that it is for: a name, or a prefix and *; '*' is all. Repeated; default: the rider named as the key."`
	Scope   []string      `default:"write,read" help:"Rights: write, read, admin."`
	Rate    float64       `help:"Pings a second sent with it, a minute's worth at once; 0: no limit of its own."`
	Expires time.Duration `help:"How long it lets in, such as 90d; 0: until it is revoked."`

	Friend      []string `sep:"none" placeholder:"RIDER" help:"Rider whose newest position the phone is shown in answers to its own, with OwnTracks by HTTP. Repeated."`
	PrivateZone []string `sep:" " placeholder:"LAT,LON,METRES" help:"Circle in which no position that is sent with it is kept. Repeated."`
}

// Run makes the key.
func (c *addKeyCmd) Run(p *command.Program) error {
	if c.Expires < 0 {
		return command.Unusable(fmt.Errorf("--expires: %v is below 0", c.Expires))
	}
	if _, err := privacy.ParseZones(c.PrivateZone, privacy.MaxKeyZones); err != nil {
		return command.Unusable(fmt.Errorf("--private-zone: %w", err))
	}
	row := auth.KeyRow{Name: c.Name, Scopes: c.Scope, Riders: c.Rider, Rate: c.Rate, Zones: c.PrivateZone, Friends: c.Friend}
	if len(row.Riders) == 0 {
		row.Riders = []string{c.Name}
	}
	secret, err := Add(c.Keys, row, c.Expires)
	if err != nil {
		return err
	}
	return c.print(p, secret)
}

// Add adds a key with the rights of row to a file, and returns it. It lets in for as long as
// lasts or, if that is 0, until it is revoked.
func Add(file string, row auth.KeyRow, lasts time.Duration) (secret string, err error) {
	for _, friend := range row.Friends {
		if strings.HasSuffix(friend, "*") {
			return "", command.Unusable(fmt.Errorf("--friend: %q: friends are named one by one, not by a prefix", friend))
		}
	}
	secret, row.Hash = auth.NewSecret()
	f := keyFlags{file}
	err = f.change(func(keys []auth.KeyRow, now time.Time) ([]auth.KeyRow, error) {
		if slices.ContainsFunc(keys, func(k auth.KeyRow) bool { return k.Name == row.Name && k.Works(now) }) {
			return nil, fmt.Errorf("there is a key %q already: revoke or rotate it, or take another name", row.Name)
		}
		row.Created = now
		if lasts > 0 {
			row.Expires = now.Add(lasts)
		}
		return append(keys, row), nil
	})
	return secret, err
}

// print prints a new key, alone on its line.
func (f *keyFlags) print(p *command.Program, secret string) error {
	fmt.Fprintf(p.Stderr, "a key was added to %s; it is not shown again:\n", f.Keys)
	_, err := fmt.Fprintln(p.Stdout, secret)
	return err
}

type listKeysCmd struct {
	Keys string `required:"" placeholder:"FILE" help:"File of keys, as of pingline serve --keys."`
	JSON bool   `name:"json" help:"Print the lines of the file instead: JSON, with the hashes."`
}

// Run lists the keys.
func (c *listKeysCmd) Run(p *command.Program) error {
	keys, err := auth.ReadKeys(c.Keys)
	if err != nil {
		return command.Unusable(fmt.Errorf("--keys: %w", err))
	}
	if c.JSON {
		out := json.NewEncoder(p.Stdout)
		for i := range keys {
			if err := out.Encode(&keys[i]); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSCOPES\tRIDERS\tRATE\tZONES\tFRIENDS\tCREATED\tSTATE")
	for i := range keys {
		k, rate := &keys[i], "-"
		if k.Rate > 0 {
			rate = fmt.Sprintf("%v/s", k.Rate)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", k.Name, strings.Join(k.Scopes, ","), few(k.Riders), rate, len(k.Zones), cmp.Or(few(k.Friends), "-"), dateOf(k.Created), stateOf(k, time.Now()))
	}
	return table.Flush()
}

// few names riders, the first few of many.
func few(riders []string) string {
	const most = 3
	if len(riders) <= most {
		return strings.Join(riders, ",")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(riders[:most], ","), len(riders)-most)
}

func dateOf(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// stateOf says whether a key lets in, and until when.
func stateOf(k *auth.KeyRow, now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked " + dateOf(k.Revoked)
	case k.Expires.IsZero():
		return "valid"
	case k.Works(now):
		return "valid until " + dateOf(k.Expires)
	}
	return "expired " + dateOf(k.Expires)
}

type revokeKeyCmd struct {
	keyFlags `embed:""`

	Name string `arg:"" help:"Name of the key."`
}

// Run revokes all keys of the name, a key that was rotated and still lets in among them.
func (c *revokeKeyCmd) Run(p *command.Program) error {
	revoked := 0
	err := c.change(func(keys []auth.KeyRow, now time.Time) ([]auth.KeyRow, error) {
		known := false
		for i := range keys {
			if k := &keys[i]; k.Name == c.Name {
				known = true
				if k.Works(now) {
					k.Revoked = now
					revoked++
				}
			}
		}
		switch {
		case !known:
			return nil, fmt.Errorf("there is no key %q", c.Name)
		case revoked == 0:
			return nil, fmt.Errorf("the key %q lets nobody in as it is", c.Name)
		}
		return keys, nil
	})
	if err == nil {
		fmt.Fprintf(p.Stderr, "the key %s is revoked; a server that reads %s refuses it within a second\n", c.Name, c.Keys)
	}
	return err
}

type rotateKeyCmd struct {
	keyFlags `embed:""`

	Name    string        `arg:"" help:"Name of the key."`
	Overlap time.Duration `default:"24h" help:"How long the key of before still lets in; 0: not at all."`
}

// Run adds a key with the rights of the key of that name, which expires.
func (c *rotateKeyCmd) Run(p *command.Program) error {
	if c.Overlap < 0 {
		return command.Unusable(fmt.Errorf("--overlap: %v is below 0", c.Overlap))
	}
	secret, hash := auth.NewSecret()
	err := c.change(func(keys []auth.KeyRow, now time.Time) ([]auth.KeyRow, error) {
		var row *auth.KeyRow
		for i := range keys {
			k := &keys[i]
			if k.Name != c.Name || !k.Works(now) {
				continue
			}
			last := *k
			row = &last // keys are in the order in which they were made
			if end := now.Add(c.Overlap); k.Expires.IsZero() || k.Expires.After(end) {
				k.Expires = end
			}
		}
		if row == nil {
			return nil, errors.New("there is no key of that name that lets anybody in")
		}
		if !row.Expires.IsZero() && !row.Created.IsZero() { // the next key is for as long as the key of before was
			row.Expires = now.Add(row.Expires.Sub(row.Created))
		}
		row.Hash, row.Created = hash, now
		return append(keys, *row), nil
	})
	if err != nil {
		return err
	}
	return c.print(p, secret)
}

type pseudonymsCmd struct {
	File string `arg:"" help:"File of the key, which must not be there."`
}

// Run makes the file.
func (c *pseudonymsCmd) Run(p *command.Program) error {
	if err := privacy.MakeKey(c.File); err != nil {
		return command.Unusable(err)
	}
	fmt.Fprintf(p.Stderr, "a key was written to %s; without it nobody finds a rider's track by the rider's id again\n", c.File)
	return nil
}
