package node

import (
	"fmt"
	"slices"

	"pingline/ingest/auth/secrets"
	"pingline/ingest/friends"
	"pingline/ingest/phone"
	"pingline/ingest/phone/colota"
	"pingline/ingest/phone/gpslogger"
	"pingline/ingest/phone/homeassistant"
	"pingline/ingest/phone/lineprotocol"
	"pingline/ingest/phone/native"
	"pingline/ingest/phone/opengts"
	"pingline/ingest/phone/osmand"
	"pingline/ingest/phone/overland"
	"pingline/ingest/phone/owntracks"
	"pingline/ingest/phone/phonetrack"
	"pingline/ingest/phone/traccar"
	"pingline/ingest/phone/transistorsoft"
	"pingline/internal/passing"
)

// protocols are the forms in which pings may come.
var protocols = []phone.Protocol{
	colota.Protocol,
	gpslogger.Protocol,
	homeassistant.Protocol,
	lineprotocol.Protocol,
	native.Protocol,
	opengts.Protocol,
	osmand.Protocol,
	overland.Protocol,
	owntracks.Protocol,
	phonetrack.Protocol,
	traccar.Protocol,
	transistorsoft.Protocol,
}

// openSecrets reads the secrets of riders, and returns nil if there is no file of them.
func (n *Node) openSecrets() (*secrets.Secrets, error) {
	if n.cfg.Secrets == "" {
		return nil, nil
	}
	s, err := secrets.Open(n.cfg.Secrets, n.logger)
	if err != nil {
		return nil, fmt.Errorf("--owntracks-secrets: %w", err)
	}
	return s, nil
}

// protocols returns the table, in which protocols know the secrets of riders and the names in
// lines.
func (n *Node) protocols() []phone.Protocol {
	list := slices.Clone(protocols)
	for i := range list {
		switch {
		case list[i].Name == owntracks.Protocol.Name && n.secrets != nil:
			list[i] = owntracks.New(n.secrets.Key)
		case list[i].Name == lineprotocol.Protocol.Name:
			list[i] = lineprotocol.New(n.cfg.Lines)
			list[i].PassOn = n.passer.PassOn // called only if lines are passed on
		}
	}
	return list
}

// openPasser returns the part that passes lines on; nil: none are.
func (n *Node) openPasser() (*passing.Passer, error) {
	to, name, err := n.cfg.lineStore()
	if to == nil {
		return nil, err
	}
	return passing.New(passing.Config{Store: to, Name: name, Timeout: n.cfg.Influx.Timeout, Most: n.cfg.MaxInProgress / 16, Logger: n.logger}), nil
}

// friends returns who may be shown to whom; nil where there are no keys.
func (n *Node) friends() *friends.Friends {
	if n.gate == nil {
		return nil
	}
	return friends.New(friends.Config{States: n.writer.RiderStates, Names: n.door.Names(), Read: n.gate.Read})
}

// Protocols returns the names of the protocols of clients.
func Protocols() (names []string) {
	for i := range protocols {
		names = append(names, protocols[i].Name)
	}
	return names
}
