// Package resharding lets operators change the shards of nodes that run, on their operations
// listeners.
//
// Package sink/reshard decides and keeps the layout of a log, and sink/moving moves history. This
// package opens and checks stores that are new, and keeps an account of each step: a line of a file
// in the data directory, and a point in the log.
//
// # Several nodes
//
// Where nodes share the riders, each part has a log of its own, and a change is made in each log. Any
// node takes a step from an operator, and passes it to the node of part 0. There drive asks how far
// all parts are, refuses a step that does not fit, and has part after part make it: its own first, so
// that a node which has lost its part is refused by its own log. Nodes may die, or be suspended, at
// any moment, for these reasons:
//
//   - All state is in the logs. A step that a part has made already is made, so whoever finds a step
//     half made asks for it again; inStep refuses any step but that. A question names its change, and
//     a part refuses it once a newer change has begun, or the same is over.
//   - Before the first row goes to a new shard, each part has noted in its log that it reads the shard,
//     and how to open it, and all agree on its place (prepareAll).
//   - A single Mover works, that of part 0. It begins when all parts are in the same phase, with all
//     rows of before in the old shards and no rider being removed (others.Behind). It writes only while
//     its node holds its log.
//   - While a piece of history is deleted, the writes of all parts to that shard wait, for mostHeld at
//     most; the deletion is broken off before (sharedLatch, copying.Config.MostHeld).
//   - Each node looks at the rest every few seconds (follow): it reads the shards that they read, and
//     moves nothing while a part does not answer or removes a rider.
//
// Questions between nodes are in messages.go, what a part does for them in across.go and here.go, the
// steps over all parts in together.go, and what is told of all parts in stand.go and whole.go.
package resharding
