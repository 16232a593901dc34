package main

import (
	"strings"
	"testing"

	"pingline/sink/postgres/postgrestest"
)

// A PostgreSQL comes in the place of an InfluxDB 1.8, with the history, and the node is killed in the
// middle of the copy: tracks are whole all along, all fields are compared, and in the end the InfluxDB
// is empty and each ping is in the PostgreSQL once.
func TestReshardIntoPostgres(t *testing.T) {
	beside(t)
	pg, one := postgrestest.Run(t), startInflux(t)
	v := runVaried(t, "url="+one.URL(), 30)
	b := "url=" + pg.URL("pingline") + ",token-file=" + pg.PasswordFile()
	if said := mustReshard(t, v.p, "plan", "--history=move", "--replace=a=name=b,"+b); strings.Contains(said, postgrestest.Password) || strings.Contains(said, "to do") {
		t.Errorf("the plan says: %s", said)
	}
	flag := v.shard(t, "b", b)
	v.change(t, []string{"--replace=a=name=b," + b}, flag)
	if st := standing(t, v.p); len(st.ReadOnly) > 0 || st.InForce.String() != "b=1" {
		t.Errorf("in the end: %+v", st)
	}
	v.ends(t, oneShard("b"))
	if n := pg.Text(t, "pingline", "SELECT count(*) = count(DISTINCT (rider, ts)) AND count(*) > 1200 FROM location"); n != "true" {
		t.Errorf("each ping is there once: %s", n)
	}
	if said := v.p.said(); strings.Contains(said, postgrestest.Password) {
		t.Error("the log has the password")
	}
}
