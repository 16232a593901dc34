package messages

// Trial is the result of a check of a way in, before any message is taken.
type Trial struct {
	What   string // in a few words, such as reachable
	Found  string // one line
	Remedy string // what an operator must do, "" if nothing
}
