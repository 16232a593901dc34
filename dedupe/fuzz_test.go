package dedupe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe/vertices"
)

// script reads numbers from the bytes of a fuzzer; behind the end they are 0.
type script []byte

func (s *script) u8() (v byte) {
	if len(*s) > 0 {
		v, *s = (*s)[0], (*s)[1:]
	}
	return v
}

func (s *script) i16() int64 { return int64(int16(uint16(s.u8()) | uint16(s.u8())<<8)) }

// pick returns one of the list.
func pick[T any](s *script, list ...T) T { return list[int(s.u8())%len(list)] }

// puppet is a track whose pings a script makes.
type puppet struct {
	last pingline.Ping
	sent []pingline.Ping
}

// next returns the ping that the script describes: a step from the last one, in
// time, too, and forwards or backwards, or one sent before.
func (u *puppet) next(s *script) pingline.Ping {
	flags := s.u8()
	if flags&1 != 0 && len(u.sent) > 0 {
		p := u.sent[len(u.sent)-1-int(s.u8())%len(u.sent)]
		if flags&2 != 0 {
			p.Event = "sos"
		}
		return p
	}
	p := u.last
	p.At += s.i16() * pick(s, int64(0), 1, 100, 1000, 60_000, 1_000_000)
	p.At = min(max(p.At, -1<<41), 1<<42) // years 1900 to 2109
	reach := pick(s, int64(0), 1, 10, 100, 10_000, 100_000)
	p.LatE7 = int32(min(max(int64(p.LatE7)+s.i16()*reach, -900_000_000), 900_000_000))
	p.LonE7 = int32((int64(p.LonE7)+s.i16()*reach+5_400_000_000)%3_600_000_000 - 1_800_000_000)
	p.Accuracy, p.Known, p.Event, p.Trip = 0, 0, "", ""
	if flags&4 != 0 {
		p.SetOptional(pingline.HasAccuracy, float64(s.u8()))
	}
	if flags&8 != 0 {
		p.Event = pick(s, "sos", "trip_end")
	}
	if flags&16 != 0 {
		p.Trip = fmt.Sprint("trip-", s.u8()%4)
	}
	if flags&32 == 0 { // others leave where the track goes on as it was
		u.last = p
	}
	u.sent = append(u.sent, p)
	return p
}

// scripted returns a world, and its puppets, as the script begins.
func scripted(t testing.TB, s *script) (*world, []puppet) {
	cfg := Config{
		LiveGap:     pick(s, 0, 30*time.Second),
		MaxGap:      pick(s, 0, 300*time.Second),
		IdleFlush:   pick(s, 0, 60*time.Second),
		MaxRiders:   1 + int(s.u8()%6),
		RecentBytes: pick(s, 0, 4*vertices.BlockBytes, 1<<20),
	}
	w := &world{
		run:      newRun(t, cfg, Bound{MaxError: 10, AccuracyCap: 50}),
		carriers: newCarriers(0, cfg.Keep), rng: rand.New(rand.NewPCG(uint64(s.u8()), 0)), cfg: cfg, exact: cfg.RecentBytes != 4*vertices.BlockBytes,
	}
	puppets := make([]puppet, 4)
	for i := range puppets {
		home := homes[int(s.u8())%len(homes)]
		p := &puppets[i].last
		p.Rider, p.At = fmt.Sprint("r-", i/2), 1_760_000_000_000
		if i%2 == 1 {
			p.Device = "phone-2"
		}
		if err := p.SetPosition(home[0], home[1]); err != nil {
			t.Fatal(err)
		}
	}
	return w, puppets
}

// play does the next thing of the script.
func (w *world) play(s *script, puppets []puppet) {
	if op := s.u8(); op%16 == 0 {
		w.rebuild(func() {
			for range s.u8() % 4 {
				w.begin()
				w.act(s, puppets)
			}
		})
		w.begin()
	} else {
		w.act(s, puppets)
	}
}

// act does the next thing but rebuild.
func (w *world) act(s *script, puppets []puppet) {
	switch op := s.u8(); op % 16 {
	case 0:
		w.bound.MaxError = pick(s, 10.0, 0, 0.1, 5, 40)
		w.bound.AccuracyCap = pick(s, 50.0, 0, 20)
		w.begin()
	case 1:
		w.now += time.Duration(s.u8()) * time.Second
		w.Idle(&w.batch, w.now, int(s.u8()%4))
		w.take()
	case 2:
		w.Flush(&w.batch, int(s.u8()%4))
		w.take()
	case 3:
		w.Prefetch([]pingline.Ping{puppets[op>>4%4].last, puppets[s.u8()%4].last})
	default:
		w.send(puppets[op>>4%4].next(s))
	}
}

// Whatever arrives, in whatever order, every answer holds; and a filter rebuilt
// from checkpoint and log is the same.
func FuzzFilter(f *testing.F) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := script(data)
		w, puppets := scripted(t, &s)
		w.begin()
		for len(s) > 0 {
			w.play(&s, puppets)
		}
		w.finish()
	})
}

// A piece of a checkpoint that is damaged, or made up, is refused; what is not
// can be used.
func FuzzLoad(f *testing.F) {
	for seed := range uint64(4) {
		w := newWorld(f, seed)
		for range 30 {
			w.commit()
		}
		piece, _ := w.Snapshot().Next(nil, w.number())
		f.Add(piece[:len(piece)-4])
		f.Add(piece)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, piece := range [][]byte{data, binary.LittleEndian.AppendUint32(data[:len(data):len(data)], crc32.Checksum(data, castagnoli))} {
			r := newRun(t, DefaultConfig(), Bound{MaxError: 10})
			if err := r.Load(piece); err != nil {
				if !errors.Is(err, pingline.ErrCorrupt) && !errors.Is(err, pingline.ErrNewer) {
					t.Errorf("Load: %v, which wraps neither ErrCorrupt nor ErrNewer", err)
				}
				continue
			}
			r.use()
		}
	})
}

// use lets the filter judge pings of the tracks it knows, and put all out.
func (r *run) use() {
	r.endLoad()
	for i := uint32(1); i <= r.tracks.Last; i++ {
		rider, device := RiderDevice(r.names.At(i).key)
		t := r.tracks.At(i)
		for _, at := range []int64{t.newest() - 1, t.newest(), t.newest() + 1000, t.Base, t.Base + 1} {
			e := pingline.Entry{Ping: pingline.Ping{Rider: rider, Device: device, Fix: pingline.Fix{At: at, LatE7: 10, LonE7: 10}}}
			r.Judge(&r.batch, &e, r.bound, 0, r.now)
		}
	}
	r.Idle(&r.batch, r.now+time.Hour, 1<<30)
	for r.Flush(&r.batch, 1<<30) {
	}
	for s, more := r.Snapshot(), true; more; {
		_, more = s.Next(nil, 1)
	}
}
