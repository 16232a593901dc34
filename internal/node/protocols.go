package node

import (
	"pingline/ingest/phone"
	"pingline/ingest/phone/colota"
	"pingline/ingest/phone/homeassistant"
	"pingline/ingest/phone/native"
	"pingline/ingest/phone/osmand"
	"pingline/ingest/phone/overland"
	"pingline/ingest/phone/owntracks"
	"pingline/ingest/phone/transistorsoft"
)

// protocols are the forms in which pings may come.
var protocols = []phone.Protocol{
	colota.Protocol,
	homeassistant.Protocol,
	native.Protocol,
	osmand.Protocol,
	overland.Protocol,
	owntracks.Protocol,
	transistorsoft.Protocol,
}

// Protocols returns the names of the protocols of clients.
func Protocols() (names []string) {
	for i := range protocols {
		names = append(names, protocols[i].Name)
	}
	return names
}
