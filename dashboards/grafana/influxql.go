package grafana

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"

	"pingline/internal/node"
)

// InfluxQuery is a query in InfluxQL, as Grafana's InfluxDB data source has it. The
// SDK has no type for that.
type InfluxQuery struct {
	RefID        string                `json:"refId"`
	Datasource   *common.DataSourceRef `json:"datasource,omitempty"`
	Query        string                `json:"query"`
	RawQuery     bool                  `json:"rawQuery"`
	ResultFormat string                `json:"resultFormat"` // time_series or table
	Alias        string                `json:"alias,omitempty"`
}

// ImplementsDataqueryVariant marks the type for the SDK.
func (InfluxQuery) ImplementsDataqueryVariant() {}

// DataqueryType is the type of the data source.
func (InfluxQuery) DataqueryType() string { return influxType }

// Validate returns nil: a query is checked by running it.
func (InfluxQuery) Validate() error { return nil }

// Equals reports whether two queries are the same.
func (q InfluxQuery) Equals(other variants.Dataquery) bool {
	o, ok := other.(InfluxQuery)
	return ok && o.Query == q.Query && o.RefID == q.RefID && o.Alias == q.Alias && o.ResultFormat == q.ResultFormat
}

// Types of data sources.
const (
	influxType     = "influxdb"
	prometheusType = "prometheus"
)

// scopes are the tags that a variable of the same name narrows.
var scopes = []string{"node", "shard", "lane"}

// measurement writes queries about points of one name. A tag or field that is not
// written there ends the program.
type measurement struct {
	name         string
	tags, fields []string
	where        []string
}

func of(name string) measurement {
	s, ok := node.Written(name)
	if !ok {
		panic(fmt.Sprintf("no node writes points %q", name))
	}
	return measurement{name: name, tags: s.Tags, fields: s.Fields}
}

// in narrows m to a value of a tag.
func (m measurement) in(tag, value string) measurement {
	return m.and(fmt.Sprintf("%s = '%s'", m.tag(tag), value))
}

// and narrows m by a condition.
func (m measurement) and(condition string) measurement {
	m.where = append(slices.Clip(m.where), condition)
	return m
}

// scoped narrows m to the chosen values of the variables of its tags.
func (m measurement) scoped() measurement {
	for _, s := range scopes {
		if slices.Contains(m.tags, s) {
			m = m.and(fmt.Sprintf("%s =~ /^${%s:regex}$/", m.tag(s), s))
		}
	}
	return m
}

func (m measurement) tag(name string) string   { return m.quoted("tag", name, m.tags) }
func (m measurement) field(name string) string { return m.quoted("field", name, m.fields) }

func (m measurement) quoted(kind, name string, known []string) string {
	if !slices.Contains(known, name) {
		panic(fmt.Sprintf("%s has no %s %q", m.name, kind, name))
	}
	return `"` + name + `"`
}

// tagList returns tags of m, quoted.
func (m measurement) tagList(names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = m.tag(name)
	}
	return list
}

// columns returns an aggregate of each field, under the field's name.
func (m measurement) columns(format string, fields []string) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = fmt.Sprintf(format, m.field(f)) + " AS " + m.field(f)
	}
	return strings.Join(list, ", ")
}

// from returns FROM and WHERE, with conditions besides those of m.
func (m measurement) from(conditions ...string) string {
	return fmt.Sprintf(`FROM "%s" WHERE %s`, m.name, strings.Join(append(slices.Clip(m.where), conditions...), " AND "))
}

const (
	timeFilter = "$timeFilter"
	perStep    = "time($__interval)"
)

func groupBy(first string, rest ...string) string {
	return " GROUP BY " + strings.Join(append([]string{first}, rest...), ", ")
}

// gauge returns an aggregate of fields for each step in time, and values of tags.
func (m measurement) gauge(aggregate string, by []string, fields ...string) string {
	m = m.scoped()
	return "SELECT " + m.columns(aggregate+"(%s)", fields) + " " + m.from(timeFilter) + groupBy(perStep, m.tagList(by)...) + " fill(none)"
}

// rate returns how much counters grew a second, summed over all tags but some. A
// counter that begins again at 0 grew by nothing.
func (m measurement) rate(by []string, fields ...string) string {
	m = m.scoped()
	inner := "SELECT " + m.columns("non_negative_derivative(max(%s), 1s)", fields) + " " + m.from(timeFilter) + groupBy(perStep, m.tagList(m.tags)...) + " fill(none)"
	return "SELECT " + m.columns("sum(%s)", fields) + " FROM (" + inner + ") WHERE " + timeFilter + groupBy(perStep, m.tagList(by)...) + " fill(none)"
}

// values returns the query of a variable: all values of a tag.
func (m measurement) values(tag string) string {
	return fmt.Sprintf(`SHOW TAG VALUES FROM "%s" WITH KEY = %s`, m.name, m.tag(tag))
}
