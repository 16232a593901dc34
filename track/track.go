// Package track reads and writes recorded tracks: the pings of riders in files,
// as NDJSON and CSV with the fields of POST /v1/pings, and as GPX.
//
// The package promises that a ping read is as valid as one that was posted, of
// any age; that what it refuses is named by file, line and field, and does not
// stop it from reading on; and that no file, however long or broken, makes it
// use more than a few MiB.
package track
