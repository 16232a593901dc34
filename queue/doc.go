// Package queue is the durable log: records of bytes, numbered, on NATS
// JetStream, in the process or on a cluster.
//
// A record whose Append returned nil is on disk, synced, or on most servers of a
// cluster; it keeps its number for good, no later record is put before it, and
// no number is given twice. A reader gets every record from its position on, in
// order, each once, or is told which records are lost: a record that is missing
// or damaged is a DamageError, never silence and never the end. When the log is
// full it refuses; it drops only the records that Trim is told to drop.
//
// JetStream promises less; the package makes up for it:
//   - A stream that lost its tail gives sequences again: a record carries its own
//     number, and a high-water mark remembers the last number.
//   - Damage is passed over in silence: the totals before and after each record tell
//     how much is lost.
//   - A write that failed has no answer, and may land late: Settle appends a record
//     behind which nothing late can land.
//   - Entries of new files are not synced, and deleted files take writes as before:
//     an append to the embedded server checks both.
//   - Any client may append: a lock, or the record of an owner, keeps other processes away.
//
// Memory is bounded: the newest records, within Config.CacheBytes, and for each
// reader that is behind two batches of about a mebibyte. Opening a log that was
// closed in order does not read it; after a crash the embedded server reads it
// once, a block at a time.
//
// When the disk is full before the log is, an append fails, and Settle waits for
// room; it makes some by dropping records that every cursor has passed. Neither a
// killed process nor a power cut loses any of it: the records and the entries of
// their directories are synced; only the high-water mark is not.
//
// A log has one owner at a time: embedded, the process that has the directory's
// lock; on servers, the process named in the record beside the stream. There Open
// waits for a lease while that process is silent, and fails if it is not silent, or
// waits on with Config.Standby; a caller that watches the records of several logs says by
// Config.Idle which it may take. An owner that was taken for dead finds out before it
// does any harm. The next owner has the cursors, the notes and the files of Mirror.
//
// The log does not look into its payloads, knows no readers, and keeps their
// cursors only lazily: in the directory, or on servers in the owner's record.
package queue
