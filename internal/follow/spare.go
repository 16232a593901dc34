package follow

import (
	"os"
	"slices"
	"sync"
	"time"

	"pingline/ingest"
	"pingline/queue"
)

// Spare is a node that waits for any of several logs. A nil *Spare reads none along. It is safe for
// concurrent use.
type Spare struct {
	cfg  Config
	most int

	mu   sync.Mutex // guards the fields below; taken before a Reader's
	list map[string]*Reader
	done bool
}

// NewSpare returns a Spare that reads most logs along at a time; nil if that is none.
func NewSpare(cfg Config, most int) *Spare {
	if most == 0 || cfg.URL == queue.Embedded {
		return nil
	}
	_ = os.RemoveAll(cfg.Dir) // of a process before
	return &Spare{cfg: cfg, most: most, list: make(map[string]*Reader)}
}

// Follow reads the logs in streams along, as many as may be, from the front, and no log besides.
func (s *Spare) Follow(streams ...string) {
	if s == nil || queue.OnKafka(s.cfg.URL) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	streams = streams[:min(len(streams), s.most)]
	for stream, r := range s.list {
		if !slices.Contains(streams, stream) {
			r.Take()
			delete(s.list, stream)
		}
	}
	for _, stream := range streams {
		if s.list[stream] == nil && !s.done {
			s.list[stream] = Begin(s.cfg, stream)
		}
	}
}

// WithoutParts is the stream of a log that is not that of a part.
const WithoutParts = "PINGLINE"

// FollowAlone returns show, which has the only log read along as well, once another node has it.
func (s *Spare) FollowAlone(show func(node string, since time.Time)) func(node string, since time.Time) {
	return func(node string, since time.Time) {
		show(node, since)
		s.Follow(WithoutParts)
	}
}

// Take ends all reading, and returns the state of the log in stream, nil if there is none.
func (s *Spare) Take(stream string) *ingest.Past {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var past *ingest.Past
	for name, r := range s.list {
		if p := r.Take(); name == stream {
			past = p
		}
	}
	clear(s.list)
	s.done = true
	return past
}

// Notes returns a sentence for each log.
func (s *Spare) Notes() []string {
	if s == nil {
		return nil
	}
	if queue.OnKafka(s.cfg.URL) {
		return []string{"cold: a log on Kafka is not read along"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{}
	for _, r := range s.list {
		list = append(list, r.State())
	}
	slices.Sort(list)
	return list
}
