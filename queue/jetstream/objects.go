package jetstream

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"pingline/queue/driver"
)

// Objects are files that belong to a stream and are not in it: the object store STREAM-filter
// beside it, for `nats object ls` to look at. What is read is what was written, by its SHA-256.
// It is safe for concurrent use.
type Objects struct {
	session *Session
	conn    *conn // its own: a file must not keep a renewal waiting
	stream  jetstream.Stream
	store   jetstream.ObjectStore
	bucket  string
}

var _ driver.FileStore = (*Objects)(nil)

// Files creates the object store if it is not there.
func (s *Session) Files(ctx context.Context) (driver.FileStore, error) {
	o := &Objects{session: s, bucket: s.stream + "-filter"}
	fail := func(err error) error { return fmt.Errorf("object store %s: %w", o.bucket, err) }
	var err error
	if o.conn, err = s.dial(); err != nil {
		return nil, fail(err)
	}
	s.files = o.conn
	js, err := jetstream.New(o.conn.Conn)
	if err != nil {
		return nil, fail(err)
	}
	err = o.conn.ask(ctx, func(ctx context.Context) (err error) {
		o.store, err = js.ObjectStore(ctx, o.bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) && !s.cfg.ReadOnly {
			o.store, err = js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
				Bucket: o.bucket, Storage: jetstream.FileStorage, Replicas: cmp.Or(s.replicas, s.read.defaultReplicas()),
			})
		}
		if err == nil {
			o.stream, err = js.Stream(ctx, "OBJ_"+o.bucket)
		}
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	return o, nil
}

// Subjects of a file's parts, and of its description.
func (o *Objects) parts(id string) string { return "$O." + o.bucket + ".C." + id }
func (o *Objects) meta(name string) string {
	return "$O." + o.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// list returns the files by name, as the leader of the servers has them: replicas may lag behind.
func (o *Objects) list(ctx context.Context) (map[string]*jetstream.ObjectInfo, error) {
	files := make(map[string]*jetstream.ObjectInfo)
	for from := uint64(1); ; {
		body := fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, from, "$O."+o.bucket+".M.>")
		at, data, err := o.session.getFrom(ctx, "OBJ_"+o.bucket, body)
		if err != nil || at == 0 {
			return files, err
		}
		f := new(jetstream.ObjectInfo)
		if err := json.Unmarshal(data, f); err != nil {
			return nil, err
		}
		if !f.Deleted {
			files[f.Name] = f
		}
		from = at + 1
	}
}

// Names returns whether there is a file of a name, for all of them.
func (o *Objects) Names(ctx context.Context) (map[string]bool, error) {
	files, err := o.list(ctx)
	names := make(map[string]bool, len(files))
	for name := range files {
		names[name] = true
	}
	return names, err
}

// Put writes the file at path as name, in place of a file of that name. After an error there may
// be a file that is broken.
func (o *Objects) Put(ctx context.Context, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	ctx, cancel := driver.FileTime(ctx, info.Size())
	defer cancel()
	_, err = o.store.Put(ctx, jetstream.ObjectMeta{Name: name}, driver.Paced(ctx, file))
	return because(ctx, err)
}

// Get copies the file called name to w. The error of w is returned as it is.
func (o *Objects) Get(ctx context.Context, name string, w io.Writer) error {
	files, err := o.list(ctx)
	if err != nil {
		return err
	}
	f := files[name]
	if f == nil {
		return fmt.Errorf("%w: it is gone", driver.ErrBroken)
	}
	there, err := o.count(ctx, o.parts(f.NUID)) // the library would wait for a missing part
	if err != nil {
		return err
	}
	if n := there[o.parts(f.NUID)]; n != uint64(f.Chunks) {
		return fmt.Errorf("%w: of %d parts %d are there", driver.ErrBroken, f.Chunks, n)
	}
	ctx, cancel := driver.FileTime(ctx, int64(f.Size))
	defer cancel()
	r, err := o.store.Get(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("%w: it is gone", driver.ErrBroken)
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err == nil && (n != int64(f.Size) || errors.Is(r.Error(), jetstream.ErrDigestMismatch)) || errors.Is(err, jetstream.ErrDigestMismatch) {
		err = fmt.Errorf("%w: %d bytes came of %d", driver.ErrBroken, n, f.Size)
	}
	return errors.Join(because(ctx, err), r.Close())
}

// Remove removes the file called name, if it is there, and leaves nothing of it: a store that
// only marks files as deleted would grow by each.
func (o *Objects) Remove(ctx context.Context, name string) error {
	files, err := o.list(ctx)
	if err != nil || files[name] == nil {
		return err
	}
	return errors.Join(o.purge(ctx, o.meta(name)), o.purge(ctx, o.parts(files[name].NUID)))
}

func (o *Objects) purge(ctx context.Context, subject string) error {
	return o.conn.ask(ctx, func(ctx context.Context) error { return o.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)) })
}

// Clean removes parts that belong to no file, which somebody has not written to the end. Proof
// returns nil if nobody else may be writing, or began to since Clean was called.
func (o *Objects) Clean(ctx context.Context, proof func() error) error {
	parts, err := o.count(ctx, o.parts("*"))
	if err != nil {
		return err
	}
	files, err := o.list(ctx) // after the parts: a file is described behind its parts
	if err != nil {
		return err
	}
	whole := make(map[string]bool)
	for _, f := range files {
		whole[o.parts(f.NUID)] = true
	}
	var lost []string
	for subject := range parts {
		if !whole[subject] {
			lost = append(lost, subject)
		}
	}
	if len(lost) > 0 {
		err = proof()
	}
	for _, subject := range lost {
		if err == nil {
			err = o.purge(ctx, subject)
		}
	}
	return err
}

// count returns how many messages there are of each subject that fits.
func (o *Objects) count(ctx context.Context, subject string) (n map[string]uint64, err error) {
	err = o.conn.ask(ctx, func(ctx context.Context) error {
		info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err == nil {
			n = info.State.Subjects
		}
		return err
	})
	return n, err
}
