package node

import (
	"pingline/ingest/phone"
	"pingline/ingest/phone/native"
)

// protocols are the forms in which pings may come.
var protocols = []phone.Protocol{
	native.Protocol,
}
