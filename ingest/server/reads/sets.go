package reads

import (
	"maps"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/server/param"
	"pingline/query"
)

// Questions that a set of shards may be able to answer.
func hasPings(r *query.Reader) bool { return r.Track != nil }
func hasPast(r *query.Reader) bool  { return r.Past != nil }

// setOf returns the reader of the set that a request names, or of the set that is read
// unless one is named. It refuses a set that cannot answer.
func (s *Routes) setOf(c *fiber.Ctx, can func(*query.Reader) bool) (*query.Reader, error) {
	name := c.Query("set")
	if name == "" {
		return s.reader, nil
	}
	if r := s.reader.Sets[name]; r != nil && can(r) {
		return r, nil
	}
	var names []string
	for _, set := range slices.Sorted(maps.Keys(s.reader.Sets)) {
		if can(s.reader.Sets[set]) {
			names = append(names, set)
		}
	}
	there := "no set can be asked this"
	if len(names) > 0 {
		there = "the sets that can be asked this are " + strings.Join(names, ", ")
	}
	return nil, param.Bad("set", "%q cannot be read: %s", name, there)
}

// ofNow refuses a set in a question about the present time, which memory answers.
func ofNow(c *fiber.Ctx) error {
	if c.Query("set") != "" {
		return param.Bad("set", "is read with at= only: the newest is in memory, and in no set")
	}
	return nil
}
