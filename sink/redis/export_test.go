package redis

// Newer is the script that takes a ping over.
const Newer = newer

// The answer to an error of a server.
var RefusalOf = refusal
