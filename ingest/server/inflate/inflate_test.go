package inflate

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pingline/ingest/phone"
)

// good is a ping, but for its time.
const good = `{"rider_id":"r-1","ts":NOW,"lat":41.1,"lon":-8.6}`

// packers pack with each encoding; gzip's trailer and zstd's frame say how much
// there is, the streamed frame does not.
var packers = []struct {
	name, encoding string
	pack           func(testing.TB, []byte) []byte
}{
	{"identity", "identity", func(_ testing.TB, b []byte) []byte { return b }},
	{"gzip", "gzip", gzipped},
	{"zstd", "zstd", zstded},
	{"streamed zstd", "zstd", zstdStreamed},
}

func zstdStreamed(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	for len(b) > 0 { // in parts, so that it cannot know the whole
		n := min(len(b), 1<<16)
		if _, err := w.Write(b[:n]); err != nil {
			tb.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			tb.Fatal(err)
		}
		b = b[n:]
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// noise returns n bytes that shrink by about a half.
func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[rng.IntN(16)]
	}
	return b
}

func TestInflateUpToTheLimit(t *testing.T) {
	const most = 100_000
	var dst []byte
	for _, p := range packers {
		for _, n := range []int{0, 1, 511, 512, 513, 1 << 16, most/2 + 1, most - 1, most} {
			want := noise(n)
			var err error
			if dst, err = Body(dst, p.encoding, p.pack(t, want), most, free); err != nil {
				t.Errorf("%s of %d bytes: %v", p.name, n, err)
			}
			if !bytes.Equal(dst, want) {
				t.Errorf("%s of %d bytes gives %d others", p.name, n, len(dst))
			}
		}
		for _, n := range []int{most + 1, 2 * most, 9 * most} {
			got, err := Body(dst, p.encoding, p.pack(t, noise(n)), most, free)
			if !errors.Is(err, phone.ErrTooLarge) || len(got) > 0 {
				t.Errorf("%s of %d bytes: %d bytes and error %v, want too large", p.name, n, len(got), err)
			}
		}
	}
}

func TestInflateEncodings(t *testing.T) {
	body := []byte(good)
	for _, tt := range []struct {
		encoding string
		body     []byte
	}{
		{"", body}, {"identity", body}, {"Identity", body},
		{"gzip", gzipped(t, body)}, {"GZIP", gzipped(t, body)}, {" gzip ", gzipped(t, body)},
		{"zstd", zstded(t, body)}, {"ZStd", zstded(t, body)},
	} {
		if got, err := Body(nil, tt.encoding, tt.body, 1000, free); err != nil || !bytes.Equal(got, body) {
			t.Errorf("inflate %q = %q, %v", tt.encoding, got, err)
		}
	}
	for _, encoding := range []string{
		"br", "deflate", "compress", "x-gzip", "gzip2", "*", "gzip, gzip", "gzip,zstd", "gzip, identity",
		"identity,gzip", "gzip;q=1", "gzip,", "\x00",
	} {
		_, err := Body(nil, encoding, gzipped(t, body), 1000, free)
		if !errors.Is(err, phone.ErrEncoding) || !strings.Contains(err.Error(), "is not identity, gzip or zstd") {
			t.Errorf("inflate %q: %v, want unknown encoding", encoding, err)
		}
	}
}

func TestInflateRefusesWhatIsCutOff(t *testing.T) {
	for _, p := range packers[1:] {
		packed := p.pack(t, noise(300))
		for n := range packed {
			if got, err := Body(nil, p.encoding, packed[:n], 1000, free); !errors.Is(err, phone.ErrMalformed) || len(got) > 0 {
				t.Errorf("%s cut off at %d of %d bytes gives %d bytes and error %v", p.name, n, len(packed), len(got), err)
			}
		}
	}
}

func TestInflateNoticesDamage(t *testing.T) {
	for _, p := range packers[1:] {
		want := noise(100)
		packed := p.pack(t, want)
		for i := range len(packed) * 8 {
			damaged := bytes.Clone(packed)
			damaged[i/8] ^= 1 << (i % 8)
			got, err := Body(nil, p.encoding, damaged, 1000, free)
			switch {
			case err == nil && !bytes.Equal(got, want): // a flipped bit in a header may mean nothing
				t.Errorf("%s with bit %d flipped gives other bytes and no error", p.name, i)
			case err != nil && !errors.Is(err, phone.ErrMalformed) && !errors.Is(err, phone.ErrTooLarge):
				t.Errorf("%s with bit %d flipped: %v", p.name, i, err)
			}
		}
	}
}

func TestInflateErrorsSayWhat(t *testing.T) {
	wide := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 14 << 3, 1, 0, 0} // a frame with a window of 16 MiB
	for _, tt := range []struct {
		name, encoding string
		body           []byte
		want           string
	}{
		{"no gzip", "gzip", []byte(good), "inflate gzip: gzip: invalid header"},
		{"no zstd", "zstd", []byte(good), "inflate zstd: invalid input: magic number mismatch"},
		{"nothing under gzip", "gzip", nil, "inflate gzip: unexpected EOF"},
		{"nothing under zstd", "zstd", nil, "inflate zstd: unexpected EOF"},
		{"a cut off gzip", "gzip", gzipped(t, noise(99))[:50], "inflate gzip: unexpected EOF"},
		{"a zstd window that HTTP does not allow", "zstd", wide, "inflate zstd: window size exceeded"},
	} {
		if _, err := Body(nil, tt.encoding, tt.body, 1000, free); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error = %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestInflateTakesPartsInARow(t *testing.T) {
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "any"...)
	for _, p := range packers[1:] {
		a, b := noise(3000), noise(5000)
		packed := slices.Concat(p.pack(t, a), p.pack(t, nil), p.pack(t, b))
		if p.encoding == "zstd" {
			packed = slices.Concat(skippable, packed, skippable)
		}
		got, err := Body(nil, p.encoding, packed, 8000, free)
		if want := append(a, b...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s in parts gives %d bytes and error %v", p.name, len(got), err)
		}
		if _, err := Body(nil, p.encoding, packed, 7999, free); !errors.Is(err, phone.ErrTooLarge) {
			t.Errorf("%s in parts: error %v, want too large", p.name, err)
		}
		for _, rubbish := range []string{"x", "\x00", strings.Repeat("\x00", 20), "\x1f", "\x1f\x8b", "\x28\xb5\x2f", good} {
			if _, err := Body(nil, p.encoding, append(bytes.Clone(packed), rubbish...), 8000, free); !errors.Is(err, phone.ErrMalformed) {
				t.Errorf("%s with %q behind it: error %v, want malformed", p.name, rubbish, err)
			}
		}
	}
}

func TestInflateNoticesACutWherever(t *testing.T) {
	var member bytes.Buffer
	w := gzip.NewWriter(&member)
	w.Name, w.Comment, w.Extra = "pings.json", "of a phone", []byte("extra")
	if _, err := w.Write(noise(200)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	first := gzipped(t, noise(100))
	both := append(bytes.Clone(first), member.Bytes()...)
	if got, err := Body(nil, "gzip", both, 1000, free); err != nil || len(got) != 300 {
		t.Fatalf("two members give %d bytes and error %v", len(got), err)
	}
	for cut := range both {
		_, err := Body(nil, "gzip", both[:cut], 1000, free)
		if cut == len(first) { // nothing says that a second one was meant to follow
			continue
		}
		if !errors.Is(err, phone.ErrMalformed) {
			t.Errorf("cut at %d of %d: error %v, want malformed", cut, len(both), err)
		}
	}
}

func TestInflateReusesMemory(t *testing.T) {
	body := noise(10_000)
	for _, p := range packers {
		packed := p.pack(t, body)
		dst := make([]byte, 5, 20_000)
		got, err := Body(dst, p.encoding, packed, 1<<20, free)
		if err != nil || &got[0] != &dst[0] {
			t.Errorf("%s takes memory of its own, error %v", p.name, err)
		}
		if p.encoding == "identity" && &got[0] == &packed[0] {
			t.Error("identity is no copy")
		}
	}
}

// bomb returns n MiB of zeros as gzip, in one member: a block of 1 MiB again and
// again, as each refers to nothing but zeros before it.
func bomb(tb testing.TB, n int) []byte {
	tb.Helper()
	zeros := make([]byte, 1<<20)
	var block bytes.Buffer
	w, err := flate.NewWriter(&block, flate.BestCompression)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(zeros); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, bytes.Repeat(block.Bytes(), n)...)
	b = append(b, 3, 0) // an empty last block
	var sum uint32
	for range n {
		sum = crc32.Update(sum, crc32.IEEETable, zeros)
	}
	b = binary.LittleEndian.AppendUint32(b, sum)
	return binary.LittleEndian.AppendUint32(b, uint32(n<<20))
}

func TestInflateBombsTakeLittleMemory(t *testing.T) {
	const most = 16 << 20
	if got, err := Body(nil, "gzip", bomb(t, 16), most, free); err != nil || len(got) != most {
		t.Fatalf("a small bomb gives %d bytes and error %v", len(got), err)
	}
	gigabyte := bomb(t, 1<<10)
	liar := bytes.Clone(gigabyte)
	binary.LittleEndian.PutUint32(liar[len(liar)-4:], 1)
	members := bytes.Repeat(bomb(t, 1), 100)
	// A frame of blocks that are each 128 KiB of one byte, without an end.
	runs := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x38}
	for range 100_000 {
		runs = append(runs, 0x02, 0x00, 0x10, 'x')
	}
	const small = 1 << 20
	for _, tt := range []struct {
		name, encoding string
		body           []byte
		atMost         uint64 // bytes
	}{
		{"1 GiB of zeros in gzip", "gzip", gigabyte, most + small},
		{"a trailer that lies", "gzip", liar, most + most/4 + small},
		{"many gzip members", "gzip", members, most + most/4 + small},
		{"zeros in zstd", "zstd", zstded(t, make([]byte, 20<<20)), most + zstdWindow + small},
		{"zeros in streamed zstd", "zstd", zstdStreamed(t, make([]byte, 20<<20)), most + most/4 + zstdWindow + small},
		{"runs in zstd", "zstd", runs, most + most/4 + zstdWindow + small},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Body(nil, tt.encoding, []byte("warm up"), most, free); !errors.Is(err, phone.ErrMalformed) {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Body(nil, tt.encoding, tt.body, most, free)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, phone.ErrTooLarge) || err.Error() != "body is larger than 16777216 bytes when inflated: send it in parts" {
				t.Errorf("error = %v, want too large", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > tt.atMost {
				t.Errorf("%d bytes allocated for %d, want at most %d", took, len(tt.body), tt.atMost)
			}
		})
	}
}

func TestInflateManyAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := packers[1+i%3]
			var dst []byte
			for n := range 20 {
				want := noise(1 + 997*n)
				packed := p.pack(t, want)
				var err error
				if dst, err = Body(dst, p.encoding, packed, 1<<20, free); err != nil || !bytes.Equal(dst, want) {
					t.Errorf("%s of %d bytes gives %d and error %v", p.name, len(want), len(dst), err)
				}
				if dst, err = Body(dst, p.encoding, packed[:len(packed)/2], 1<<20, free); err == nil {
					t.Errorf("half of %s of %d bytes is taken", p.name, len(want))
				}
			}
		})
	}
	wg.Wait()
	until(t, "there are as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}

func FuzzInflate(f *testing.F) {
	for _, p := range packers {
		for _, n := range []int{0, 100, 5000} {
			f.Add(p.encoding, p.pack(f, noise(n)))
		}
		f.Add(p.encoding, append(p.pack(f, noise(10)), p.pack(f, noise(10))...))
	}
	f.Add("gzip", bomb(f, 1))
	// Flags that are reserved, in the first header and in a second one.
	f.Add("gzip", []byte("\x1f\x8b\bA000000\x030\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add("gzip", append(gzipped(f, noise(10)), "\x1f\x8b\b\x20000000\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"...))
	f.Add("gzip", append(gzipped(f, noise(10)), "\x1f\x8b\b\b000000name"...))
	oracle, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<26))
	if err != nil {
		f.Fatal(err)
	}
	const most = 4096
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		got, err := Body(make([]byte, 0, 64), encoding, body, most, free)
		if err != nil {
			if !errors.Is(err, phone.ErrMalformed) && !errors.Is(err, phone.ErrTooLarge) && !errors.Is(err, phone.ErrEncoding) {
				t.Errorf("error of no kind: %v", err)
			}
			if len(got) > 0 {
				t.Errorf("%d bytes and error %v", len(got), err)
			}
		}
		if len(got) > most {
			t.Errorf("%d bytes, want at most %d", len(got), most)
		}
		var want []byte
		var wantErr error
		switch encoding {
		case "gzip":
			want, wantErr = gunzipPlainly(body, most)
			if (err == nil) != (wantErr == nil && len(want) <= most) {
				t.Errorf("error = %v, the standard library's %d bytes, %v", err, len(want), wantErr)
			}
		case "zstd":
			want, wantErr = oracle.DecodeAll(body, nil)
		default:
			return
		}
		if err == nil && (wantErr != nil || !bytes.Equal(got, want)) {
			t.Errorf("inflated to %d bytes, want %d and %v", len(got), len(want), wantErr)
		}
	})
}

// gunzipPlainly inflates with the standard library, member by member, up to a
// byte beyond most. It refuses the flags that RFC 1952 reserves, which the
// library passes over.
func gunzipPlainly(body []byte, most int64) ([]byte, error) {
	from := bytes.NewReader(body)
	var all []byte
	for {
		if head := body[len(body)-from.Len():]; len(head) > 3 && head[3]&0xe0 != 0 {
			return all, stdgzip.ErrHeader
		}
		z, err := stdgzip.NewReader(from)
		if err != nil {
			return all, err
		}
		z.Multistream(false)
		member, err := io.ReadAll(io.LimitReader(z, most+1-int64(len(all))))
		all = append(all, member...)
		if err != nil || int64(len(all)) > most || from.Len() == 0 {
			return all, err
		}
	}
}

// free is memory that nobody counts.
func free(int64) error { return nil }
