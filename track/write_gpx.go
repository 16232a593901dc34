package track

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"pingline"
)

// gpxEncoder writes GPX 1.1, a <trk> for each track. Speed and course are in the
// extensions of Garmin, which most programs read; other values that GPX has no element
// for are in extensions of gpxSpace. Late points are in a <trk> of the type late, each
// in a segment of its own, so that no line is drawn through them.
type gpxEncoder struct {
	keptTracks
	num []byte
}

const gpxHead = `<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="pingline" xmlns="http://www.topografix.com/GPX/1/1"
  xmlns:gpxtpx="http://www.garmin.com/xmlschemas/TrackPointExtension/v2" xmlns:p="` + gpxSpace + `">
`

func (e *gpxEncoder) begin(*bufio.Writer) {}

func (e *gpxEncoder) ping(_ *bufio.Writer, p *pingline.Ping, late bool) { e.add(p, late) }

func (e *gpxEncoder) end(w *bufio.Writer) {
	_, _ = w.WriteString(gpxHead)
	for _, t := range e.all() {
		if len(t.line) > 0 {
			e.track(w, t, t.line, false)
		}
		if len(t.late) > 0 {
			e.track(w, t, t.late, true)
		}
	}
	_, _ = w.WriteString("</gpx>\n")
}

func (e *gpxEncoder) track(w *bufio.Writer, t *keptTrack, pings []pingline.Ping, late bool) {
	fmt.Fprintf(w, "<trk><name>%s</name>", escaped(t.rider))
	if late {
		_, _ = w.WriteString("<type>late</type>")
	}
	extensions := ""
	if nameOf(t.rider) != t.rider { // Reader would change the name of the <trk>
		extensions += "<p:rider_id>" + escaped(t.rider) + "</p:rider_id>"
	}
	if t.device != "" {
		extensions += "<p:device_id>" + escaped(t.device) + "</p:device_id>"
	}
	if extensions != "" {
		fmt.Fprintf(w, "<extensions>%s</extensions>", extensions)
	}
	_, _ = w.WriteString("<trkseg>\n")
	for i := range pings {
		if late && i > 0 {
			_, _ = w.WriteString("</trkseg><trkseg>\n")
		}
		e.point(w, &pings[i])
	}
	_, _ = w.WriteString("</trkseg></trk>\n")
}

func (e *gpxEncoder) point(w *bufio.Writer, p *pingline.Ping) {
	e.num = appendFixed(append(e.num[:0], `<trkpt lat="`...), int64(p.LatE7), 7)
	e.num = appendFixed(append(e.num, `" lon="`...), int64(p.LonE7), 7)
	_, _ = w.Write(append(e.num, `">`...))
	e.number(w, p, pingline.HasAltitude, "ele")
	_, _ = w.WriteString(time.UnixMilli(p.At).UTC().Format("<time>2006-01-02T15:04:05.999Z</time>"))
	const garmin = pingline.HasSpeed | pingline.HasHeading
	if p.Known&^pingline.HasAltitude != 0 || p.Event != "" || p.Trip != "" || p.Attrs != "" {
		_, _ = w.WriteString("<extensions>")
		if p.Known&garmin != 0 {
			_, _ = w.WriteString("<gpxtpx:TrackPointExtension>")
			e.number(w, p, pingline.HasSpeed, "gpxtpx:speed")
			e.number(w, p, pingline.HasHeading, "gpxtpx:course")
			_, _ = w.WriteString("</gpxtpx:TrackPointExtension>")
		}
		for i, n := range pingline.Numbers {
			if known := pingline.Known(1 << i); known&(garmin|pingline.HasAltitude) == 0 {
				e.number(w, p, known, "p:"+n.Key)
			}
		}
		if p.Event != "" {
			fmt.Fprintf(w, "<p:event>%s</p:event>", escaped(p.Event))
		}
		if p.Trip != "" {
			fmt.Fprintf(w, "<p:trip_id>%s</p:trip_id>", escaped(p.Trip))
		}
		if p.Attrs != "" {
			fmt.Fprintf(w, "<p:attrs>%s</p:attrs>", escaped(string(p.Attrs.AppendJSON(nil))))
		}
		_, _ = w.WriteString("</extensions>")
	}
	_, _ = w.WriteString("</trkpt>\n")
}

// number writes an optional number if it is known.
func (e *gpxEncoder) number(w *bufio.Writer, p *pingline.Ping, known pingline.Known, tag string) {
	if p.Has(known) {
		e.num = appendNumber(e.num[:0], p.Numbers()[numberOf(known)-number])
		fmt.Fprintf(w, "<%s>%s</%[1]s>", tag, e.num)
	}
}

// escaped returns text escaped for XML.
func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder returns no errors
	return b.String()
}
