package pingproto

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"pingline"
	"pingline/sink/store/storetest"
)

var (
	messageLine = regexp.MustCompile(`^message (\w+) \{$`)
	fieldLine   = regexp.MustCompile(`^(optional )?(map<string, (\w+)>|\w+) (\w+) = (\d+);`)
)

// schema reads docs/pingline.proto, as far as it goes, and returns its messages.
func schema(t testing.TB) protoreflect.MessageDescriptors {
	t.Helper()
	text, err := os.ReadFile("../../docs/pingline.proto")
	if err != nil {
		t.Fatal(err)
	}
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("pingline.proto"), Package: proto.String("pingline.v1"), Syntax: proto.String("proto3")}
	var m *descriptorpb.DescriptorProto
	oneof := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case messageLine.MatchString(line):
			m = &descriptorpb.DescriptorProto{Name: &messageLine.FindStringSubmatch(line)[1]}
			file.MessageType = append(file.MessageType, m)
		case strings.HasPrefix(line, "oneof "):
			oneof = true
			m.OneofDecl = append(m.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("kind")})
		case line == "}":
			oneof = false
		case fieldLine.MatchString(line):
			field(t, m, fieldLine.FindStringSubmatch(line), oneof)
		}
	}
	built, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return built.Messages()
}

// field adds a field of the schema to m.
func field(t testing.TB, m *descriptorpb.DescriptorProto, part []string, oneof bool) {
	t.Helper()
	n, err := strconv.Atoi(part[5])
	if err != nil {
		t.Fatal(err)
	}
	f := &descriptorpb.FieldDescriptorProto{
		Name: &part[4], JsonName: &part[4], Number: proto.Int32(int32(n)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	kind := part[2]
	if part[3] != "" {
		name := strings.ToUpper(part[4][:1]) + part[4][1:] + "Entry"
		entry := &descriptorpb.DescriptorProto{Name: &name, Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)}}
		field(t, entry, []string{"", "", "string", "", "key", "1"}, false)
		field(t, entry, []string{"", "", part[3], "", "value", "2"}, false)
		m.NestedType = append(m.NestedType, entry)
		f.Label, kind = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(), m.GetName()+"."+name
	}
	if scalar, ok := descriptorpb.FieldDescriptorProto_Type_value["TYPE_"+strings.ToUpper(kind)]; ok {
		f.Type = descriptorpb.FieldDescriptorProto_Type(scalar).Enum()
	} else {
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".pingline.v1."+kind)
	}
	switch {
	case oneof:
		f.OneofIndex = proto.Int32(0)
	case part[1] != "":
		f.Proto3Optional, f.OneofIndex = proto.Bool(true), proto.Int32(int32(len(m.OneofDecl)))
		m.OneofDecl = append(m.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("_" + part[4])})
	}
	m.Field = append(m.Field, f)
}

// values returns a message as the fields of JSON, of which a 64-bit number is a text.
func values(t testing.TB, m proto.Message) (all map[string]any) {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func pings(t testing.TB) []pingline.Entry {
	list := storetest.Fleet(7, 300)
	for i, dressed := range storetest.Dressed(t, 7) {
		list[3*i].Attrs = dressed.Attrs
	}
	for i := range list {
		e := &list[i]
		e.Late, e.Corrected, e.Apart = i%3 == 0, i%5 == 0, i%7 == 0
		if i%11 == 0 {
			e.LatE7 = 0
		}
		if i%13 == 0 {
			e.SetOptional(pingline.HasSpeed, 0) // known, and the default of its type
		}
		e.Trip = fmt.Sprintf("a \"trip\"\n\\ %d  é", i)
	}
	return list
}

// attrValue returns the JSON of a Value that has an attribute.
func attrValue(f *pingline.PointField) map[string]any {
	switch f.Type {
	case pingline.TextField:
		return map[string]any{"text": f.Text()}
	case pingline.BoolField:
		return map[string]any{"flag": f.Bool()}
	}
	return map[string]any{"number": f.Float()}
}

// What is written is read by the library of Protobuf, with the schema of the docs: nothing is
// unknown, and each value is that of the ping.
func TestPings(t *testing.T) {
	d := schema(t).ByName("Ping")
	for _, e := range pings(t) {
		m := dynamicpb.NewMessage(d)
		if err := proto.Unmarshal(AppendPing(nil, &e), m); err != nil || len(m.GetUnknown()) > 0 {
			t.Fatalf("%+v: %v, unknown %x", e, err, m.GetUnknown())
		}
		want := map[string]any{"rider_id": e.Rider, "ts": strconv.FormatInt(e.At, 10)}
		set := func(key string, v any, is bool) {
			if is {
				want[key] = v
			}
		}
		set("lat", e.Lat(), e.LatE7 != 0)
		set("lon", e.Lon(), e.LonE7 != 0)
		set("device_id", e.Device, e.Device != "")
		set("event", e.Event, e.Event != "")
		set("trip_id", e.Trip, e.Trip != "")
		set("cell", strconv.FormatUint(e.Cell, 10), e.Cell != 0)
		set("skipped", float64(e.Skipped), e.Skipped != 0)
		set("late", true, e.Late)
		set("corrected", true, e.Corrected)
		attrs := make(map[string]any)
		for f := range e.Attrs.All() {
			attrs[f.Key] = attrValue(&f)
		}
		set("attrs", attrs, e.Attrs != "")
		set("nano", strconv.FormatInt(e.Nano(), 10), e.Nano() != 0)
		got := values(t, m)
		for i, n := range pingline.Numbers {
			v, there := got[n.Key].(float64)
			if there != e.Has(1<<i) || float32(v) != e.Numbers()[i] {
				t.Errorf("%s is %v, want %v", n.Key, got[n.Key], e.Numbers()[i])
			}
			delete(got, n.Key)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("read is\n%v, want\n%v", got, want)
		}

		text, err := Text(AppendPing(nil, &e))
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Attrs                                       json.RawMessage
			Rider                                       string `json:"rider_id"`
			Device                                      string `json:"device_id"`
			Trip                                        string `json:"trip_id"`
			Event                                       string
			TS                                          int64
			Lat, Lon                                    float64
			Speed, Heading, Accuracy, Altitude, Battery *float32
		}
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if back.Rider != e.Rider || back.Device != e.Device || back.Trip != e.Trip || back.Event != e.Event || back.TS != e.At || back.Lat != e.Lat() || back.Lon != e.Lon() {
			t.Errorf("%s, want %+v", text, e)
		}
		if back.Attrs == nil {
			back.Attrs = json.RawMessage("null")
		}
		if got, err := pingline.ParseAttrs(back.Attrs); err != nil || got != e.Attrs {
			t.Errorf("%s: attributes %q, %v, want %q", text, got, err, e.Attrs)
		}
		for i, v := range []*float32{back.Speed, back.Heading, back.Accuracy, back.Altitude, back.Battery} {
			if (v != nil) != e.Has(1<<i) || v != nil && *v != e.Numbers()[i] {
				t.Errorf("%s: number %d, want %+v", text, i, e.Fix)
			}
		}
	}
}

func TestPoints(t *testing.T) {
	d := schema(t).ByName("Point")
	p := pingline.Point{
		Name: "cell_activity", At: 1_760_000_000_000, Tags: []pingline.Tag{{Key: "cell", Value: "8539"}, {Key: "res", Value: strings.Repeat("7", 300)}},
		Fields: []pingline.PointField{pingline.Int("pings", -3), pingline.Int("none", 0), pingline.Float("mean", 0), pingline.Float("share", 2.5), pingline.Text("note", strings.Repeat("é", 200)), pingline.Text("empty", ""), pingline.Bool("up", true), pingline.Bool("down", false)},
	}
	m := dynamicpb.NewMessage(d)
	if err := proto.Unmarshal(AppendPoint(nil, &p), m); err != nil || len(m.GetUnknown()) > 0 {
		t.Fatalf("%v, unknown %x", err, m.GetUnknown())
	}
	want := map[string]any{
		"name": p.Name, "ts": "1760000000000", "tags": map[string]any{"cell": "8539", "res": strings.Repeat("7", 300)},
		"fields": map[string]any{
			"pings": map[string]any{"integer": "-3"}, "none": map[string]any{"integer": "0"}, "mean": map[string]any{"number": 0.}, "share": map[string]any{"number": 2.5},
			"note": map[string]any{"text": strings.Repeat("é", 200)}, "empty": map[string]any{"text": ""}, "up": map[string]any{"flag": true}, "down": map[string]any{"flag": false},
		},
	}
	if got := values(t, m); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read is\n%v, want\n%v", got, want)
	}
}

// Messages of later schemas, and of other makers, are read; those that are no pings are refused.
func TestText(t *testing.T) {
	ping := schema(t).ByName("Ping")
	with := func(set map[string]any) []byte {
		m := dynamicpb.NewMessage(ping)
		for name, v := range set {
			m.Set(ping.Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(v))
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ana := with(map[string]any{"rider_id": "ana", "ts": int64(5), "lat": 1.5, "lon": -2.25})
	part := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	attr := func(name string, value ...byte) []byte {
		return part(pingAttrs, append(part(mapKey, []byte(name)), part(mapValue, value)...))
	}
	number := func(v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(nil, valueNumber, protowire.Fixed64Type), math.Float64bits(v))
	}
	var seventeen []byte
	for i := range 17 {
		seventeen = append(seventeen, attr(fmt.Sprint("a", i), 0x20, 1)...)
	}
	for _, tt := range []struct {
		name    string
		message []byte
		want    string // or the end of the error, behind a !
	}{
		{"attributes", slices.Concat(attr("n", number(0.5)...), attr("i", 0x08, 7), attr("t", 0x1a, 1, '"'), attr("f", 0x20, 1)), `{"lat":0,"lon":0,"attrs":{"n":0.5,"i":7,"t":"\"","f":true}}`},
		{"an attribute twice", slices.Concat(attr("n", number(0.5)...), attr("n", 0x20, 0)), `{"lat":0,"lon":0,"attrs":{"n":false}}`},
		{"two values of one attribute", attr("n", 0x20, 0, 0x08, 3), `{"lat":0,"lon":0,"attrs":{"n":3}}`},
		{"a value of a later schema", attr("n", 0x28, 1), `{"lat":0,"lon":0,"attrs":{"n":null}}`},
		{"an attribute without name and value", part(pingAttrs, nil), `{"lat":0,"lon":0,"attrs":{"":null}}`},
		{"16 attributes, the last again", append(slices.Clip(seventeen[:len(seventeen)-len(attr("a16", 0x20, 1))]), attr("a15", 0x20, 1)...), `{"lat":0,"lon":0,"attrs":{"a0":true,"a1":true,"a2":true,"a3":true,"a4":true,"a5":true,"a6":true,"a7":true,"a8":true,"a9":true,"a10":true,"a11":true,"a12":true,"a13":true,"a14":true,"a15":true}}`},
		{"17 attributes", seventeen, "!attrs: more than 16 attributes"},
		{"an attribute that is no number", attr("n", number(math.NaN())...), "!attrs: not a finite number"},
		{"an attribute that is no text", attr("n", 0x1a, 1, 0xff), "!attrs: a string that is not UTF-8"},
		{"an attribute that has no name", attr("\xff", 0x20, 1), "!attrs: a name that is not UTF-8"},
		{"an attribute of another type", attr("n", 0x21, 0, 0, 0, 0, 0, 0, 0, 0), "!attrs: another wire type than in the schema: is the message a pingline.v1.Ping?"},
		{"a name of another type", part(pingAttrs, []byte{0x08, 1}), "!attrs: another wire type than in the schema: is the message a pingline.v1.Ping?"},
		{"an attribute that is broken off", part(pingAttrs, []byte{0x0a, 9, 'n'}), "!attrs: unexpected EOF"},
		{"a value that is broken off", attr("n", 0x1a, 9), "!attrs: unexpected EOF"},
		{"plain", ana, `{"lat":1.5,"lon":-2.25,"rider_id":"ana","ts":5}`},
		{"nothing said", with(nil), `{"lat":0,"lon":0}`},
		{"numbers that are 0", with(map[string]any{"rider_id": "a", "speed": float32(0), "battery": float32(0.25)}), `{"lat":0,"lon":0,"rider_id":"a","speed":0,"battery":0.25}`},
		{"a time before 1970", with(map[string]any{"ts": int64(-5)}), `{"lat":0,"lon":0,"ts":-5}`},
		{"fields of a later schema", append([]byte{0xa2, 0x06, 0x01, 'x', 0xa8, 0x06, 0x01, 0xb3, 0x06, 0x08, 0x01, 0xb4, 0x06}, ana...), `{"lat":1.5,"lon":-2.25,"rider_id":"ana","ts":5}`},
		{"a field twice", append(with(map[string]any{"rider_id": "bo", "lat": 9.}), ana...), `{"lat":1.5,"lon":-2.25,"rider_id":"ana","ts":5}`},
		{"broken off", ana[:len(ana)-1], "!unexpected EOF at offset 17"},
		{"JSON", []byte(`{"rider_id":"ana"}`), "!unexpected EOF at offset 1"},
		{"another type", []byte{0x08, 0x01}, "!rider_id: wire type 0, the schema has 2: is the message a pingline.v1.Ping?"},
		{"a number of another type", []byte{0x80, 0x02, 0x01}, "!speed: wire type 0, the schema has 5: is the message a pingline.v1.Ping?"},
		{"no UTF-8", []byte{0x0a, 0x01, 0xff}, "!rider_id: not UTF-8"},
		{"no number", with(map[string]any{"lat": math.NaN()}), "!lat: not a finite number"},
		{"no speed", with(map[string]any{"speed": float32(math.Inf(1))}), "!speed: not a finite number"},
	} {
		got, err := Text(tt.message)
		if want, refused := strings.CutPrefix(tt.want, "!"); refused {
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: %s, %v, want %s", tt.name, got, err, want)
			}
			continue
		}
		var a, b any
		if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(tt.want), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

// Messages are refused, or become an object of bounded length that the library reads alike.
func FuzzText(f *testing.F) {
	for _, e := range pings(f)[:50] {
		f.Add(AppendPing(nil, &e))
	}
	d := schema(f).ByName("Ping")
	f.Fuzz(func(t *testing.T, message []byte) {
		text, err := Text(message)
		if err != nil {
			return
		}
		if len(text) > 6*len(message)+400 {
			t.Errorf("%d bytes of %d", len(text), len(message))
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		m := dynamicpb.NewMessage(d)
		if proto.Unmarshal(message, m) != nil {
			return // of a field that is not read
		}
		for i := range d.Fields().Len() {
			field := d.Fields().Get(i)
			v, there := got[string(field.Name())]
			if field.IsMap() {
				sameAttrs(t, v, m.Get(field).Map())
				continue
			}
			if want := m.Get(field); field.Kind() == protoreflect.StringKind && there && v != want.String() || field.Kind() == protoreflect.DoubleKind && v != want.Float() {
				t.Errorf("%s is %v, want %v", field.Name(), v, want)
			}
		}
	})
}

// sameAttrs checks the object of attributes that was read, nil if there is none.
func sameAttrs(t *testing.T, got any, want protoreflect.Map) {
	object, _ := got.(map[string]any)
	if len(object) != want.Len() {
		t.Fatalf("attributes %v, want %v", got, want)
	}
	want.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		v, there := object[key.String()]
		m := value.Message()
		kind := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
		if kind == nil {
			if !there || v != nil {
				t.Errorf("%s is %v, want null", key, v)
			}
			return true
		}
		is := m.Get(kind).Interface()
		if n, ok := is.(int64); ok {
			is = float64(n)
		}
		if v != is {
			t.Errorf("%s is %v, want %v", key, v, is)
		}
		return true
	})
}

// The cost of four attributes a ping, and of none.
func BenchmarkAppendPing(b *testing.B) {
	for _, attrs := range []int{0, 4} {
		b.Run(fmt.Sprintf("attrs=%d", attrs), func(b *testing.B) {
			c, buf := storetest.NewConvoy(1000, storetest.Recently, 5000), []byte(nil)
			if attrs > 0 {
				c.Dress()
			}
			list := c.List(300)
			b.ReportAllocs()
			for b.Loop() {
				buf = buf[:0]
				for i := range list {
					buf = AppendPing(buf, &list[i])
				}
			}
			b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "pings/s")
		})
	}
}
