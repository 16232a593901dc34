package batch

import (
	"log/slog"

	"pingline/sink/influx"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var (
	recently   = storetest.Recently
	fleet      = storetest.Fleet
	held       = storetest.Held
	commit     = storetest.Commit
	appendLine = influx.AppendLine
	quiet      = slog.New(slog.DiscardHandler)
)

// testRows encodes rows and cannot be written to.
var testRows = func() store.Store {
	b, err := influx.New(influx.Config{URL: "http://127.0.0.1:1", Bucket: "none"})
	if err != nil {
		panic(err)
	}
	return b
}()
