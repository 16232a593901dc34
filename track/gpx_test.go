package track

import (
	"slices"
	"strings"
	"testing"

	"pingline"
)

const gpxSample = `<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1" xmlns:gpxtpx="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">
 <metadata><name>A day</name><time>2009-10-17T22:58:43Z</time></metadata>
 <wpt lat="1" lon="2"><ele>7</ele><time>2009-10-17T22:58:43Z</time><name>Inn</name></wpt>
 <rte><rtept lat="3" lon="4"/></rte>
 <trk>
  <name>Morning ride: Ålesund – Molde</name>
  <trkseg>
   <trkpt lat="47.644548" lon="-122.326897">
    <ele>4.46</ele>
    <time>2009-10-17T18:37:26Z</time>
   </trkpt>
   <trkpt lat="47.6445481" lon="-122.3268971"><time>2009-10-17T18:37:31.5+02:00</time>
    <extensions><gpxtpx:TrackPointExtension><gpxtpx:hr>120</gpxtpx:hr><gpxtpx:speed>7.25</gpxtpx:speed><gpxtpx:course>91.5</gpxtpx:course></gpxtpx:TrackPointExtension></extensions>
   </trkpt>
  </trkseg>
  <trkseg>
   <trkpt lat="47.5" lon="-122.5"><time>2009-10-17T19:00:00</time><speed> 3 </speed><course>-1</course><sat>7</sat></trkpt>
  </trkseg>
 </trk>
 <trk><trkseg><trkpt lat="1" lon="1"><time>1960-01-01T00:00:00Z</time><extensions><speed>2</speed><bearing>10</bearing><accuracy>4.5</accuracy></extensions></trkpt></trkseg></trk>
</gpx>`

func TestReadGPX(t *testing.T) {
	want := []pingline.Ping{
		newPing(t, "Morning-ride:-Ålesund-Molde", 1255804646000, 47.644548, -122.326897, map[pingline.Known]float64{pingline.HasAltitude: 4.46}),
		newPing(t, "Morning-ride:-Ålesund-Molde", 1255797451500, 47.6445481, -122.3268971, map[pingline.Known]float64{pingline.HasSpeed: 7.25, pingline.HasHeading: 91.5}),
		newPing(t, "Morning-ride:-Ålesund-Molde", 1255806000000, 47.5, -122.5, map[pingline.Known]float64{pingline.HasSpeed: 3}),
		newPing(t, "2009-10-17-day", -315619200000, 1, 1, map[pingline.Known]float64{pingline.HasSpeed: 2, pingline.HasHeading: 10, pingline.HasAccuracy: 4.5}),
	}
	got, raws, errs := readAll(t, "some/where/2009-10-17 (day).gpx", gpxSample)
	if !slices.Equal(got, want) || len(errs) > 0 {
		t.Errorf("read %+v\nwant %+v\nerrors %q", got, want, errs)
	}
	if len(strings.Join(raws, "")) > 0 {
		t.Errorf("lines %q", raws)
	}
}

func TestReadGPXGoesOnBehindABadPoint(t *testing.T) {
	const good = "<trkpt lat=\"1\" lon=\"2\"><time>2009-10-17T18:37:26Z</time></trkpt>\n"
	for _, tt := range []struct{ name, point, want string }{
		{"no time", `<trkpt lat="1" lon="2"/>`, "a.gpx line 2: time: missing"},
		{"no latitude", `<trkpt lon="2"><time>2009-10-17T18:37:26Z</time></trkpt>`, "a.gpx line 2: lat: missing"},
		{"a word for a longitude", `<trkpt lat="1" lon="west"><time>2009-10-17T18:37:26Z</time></trkpt>`, "a.gpx line 2: lon: not a number"},
		{"off the globe", `<trkpt lat="91" lon="2"><time>2009-10-17T18:37:26Z</time></trkpt>`, "a.gpx line 2: lat: not in [-90, 90]"},
		{"no such time", `<trkpt lat="1" lon="2"><time>yesterday</time></trkpt>`, "a.gpx line 2: ts: neither"},
		{"a word for a speed", `<trkpt lat="1" lon="2"><time>2009-10-17T18:37:26Z</time><speed>fast</speed></trkpt>`, "a.gpx line 2: speed: not a number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, _, errs := readAll(t, "a.gpx", "<gpx><trk><trkseg>"+good+tt.point+"\n"+good+"</trkseg></trk></gpx>")
			if len(pings) != 2 || len(errs) != 1 || !strings.HasPrefix(errs[0], tt.want) {
				t.Errorf("%d pings, errors %q, want %q", len(pings), errs, tt.want)
			}
		})
	}
}

func TestReadGPXEndsAtBrokenXML(t *testing.T) {
	const good = "<gpx><trk><trkseg><trkpt lat=\"1\" lon=\"2\"><time>2009-10-17T18:37:26Z</time></trkpt>\n"
	for _, tt := range []struct{ name, rest, want string }{
		{"it breaks off", "<trkpt lat=\"1\"", "a.gpx line 2: read GPX: XML syntax error on line 2: unexpected EOF"},
		{"tags cross", "</trk></trkseg>", "a.gpx line 2: read GPX: XML syntax error on line 2: element <trkseg> closed by </trk>"},
		{"an unknown entity", "&bomb;", "a.gpx line 2: read GPX: XML syntax error on line 2: invalid character entity &bomb;"},
		{"too deep", strings.Repeat("<a>", 200), "a.gpx line 2: read GPX: more than 100 elements"},
		{"a long text", strings.Repeat("x", 2*maxLine), "a.gpx line 2: read GPX: a tag or text of more than"},
		{"a long comment", "<!--" + strings.Repeat("x", 2*maxLine) + "-->", "a.gpx line 2: read GPX: a tag or text of more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pings, _, errs := readAll(t, "a.gpx", good+tt.rest)
			if len(pings) != 1 || len(errs) != 1 || !strings.HasPrefix(errs[0], tt.want) {
				t.Errorf("%d pings, errors %q, want %q", len(pings), errs, tt.want)
			}
		})
	}
}

func TestNamesOfTracks(t *testing.T) {
	for name, want := range map[string]string{
		"Rider-7":                  "Rider-7",
		" a  b ":                   "a-b",
		"日本 2":                     "日本-2",
		"🚕":                        "file",
		"..":                       "file",
		strings.Repeat("é", 70):    strings.Repeat("é", 64),
		"":                         "file",
		strings.Repeat("r", 140):   strings.Repeat("r", 128),
		"me@example.com 10:00.gpx": "me@example.com-10:00.gpx",
		"a<!-- b -->c":             "ac",
		"<![CDATA[x & y]]>":        "x-y",
		"&lt;tag&gt;":              "tag",
	} {
		text := "<gpx><trk><name>" + name + `</name><trkpt lat="1" lon="2"><time>2009-10-17T18:37:26Z</time></trkpt></trk></gpx>`
		pings, _, errs := readAll(t, "dir/file.gpx.gz", text)
		if len(errs) > 0 || len(pings) != 1 || pings[0].Rider != want {
			t.Errorf("track %q: %+v, %q, want rider %q", name, pings, errs, want)
		}
	}
}

func TestOtherCharacterSetsAreRead(t *testing.T) {
	text := "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><gpx><trk><name>caf\xe9 1</name><trkpt lat=\"1\" lon=\"2\"><time>2009-10-17T18:37:26Z</time></trkpt></trk></gpx>"
	pings, _, errs := readAll(t, "a.gpx", text)
	if len(errs) > 0 || len(pings) != 1 || pings[0].Rider != "caf-1" {
		t.Errorf("%+v, %q", pings, errs)
	}
}
