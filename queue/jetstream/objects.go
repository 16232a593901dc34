package jetstream

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Objects are files that belong to a stream and are not in it: the object store STREAM-filter
// beside it, for `nats object ls` to look at. A file is there whole or not at all, and what is
// read is what was written, by its SHA-256. It is safe for concurrent use.
type Objects struct {
	conn   *conn
	stream jetstream.Stream
	store  jetstream.ObjectStore
	bucket string
}

// objectRate is the least rate, bytes a second, at which a file must be written or read.
const objectRate = 1 << 20

// OpenObjects creates the object store if it is not there. With clean it removes parts of files
// that others did not write to their end: nobody else may be writing.
func (s *Session) OpenObjects(ctx context.Context, clean bool) (*Objects, error) {
	o := &Objects{conn: s.read, bucket: s.stream + "-filter"}
	err := s.read.ask(ctx, func(ctx context.Context) (err error) {
		o.store, err = s.js.ObjectStore(ctx, o.bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			o.store, err = s.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
				Bucket: o.bucket, Storage: jetstream.FileStorage, Replicas: cmp.Or(s.replicas, s.defaultReplicas()),
			})
		}
		if err == nil {
			o.stream, err = s.js.Stream(ctx, "OBJ_"+o.bucket)
		}
		return err
	})
	if err == nil && clean {
		err = o.clean(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", o.bucket, err)
	}
	return o, nil
}

// Subjects of a file's parts, and of its description.
func (o *Objects) parts(id string) string { return "$O." + o.bucket + ".C." + id }
func (o *Objects) meta(name string) string {
	return "$O." + o.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// list returns the files by name.
func (o *Objects) list(ctx context.Context) (map[string]*jetstream.ObjectInfo, error) {
	files := make(map[string]*jetstream.ObjectInfo)
	err := o.conn.ask(ctx, func(ctx context.Context) error {
		found, err := o.store.List(ctx)
		for _, f := range found {
			files[f.Name] = f
		}
		if errors.Is(err, jetstream.ErrNoObjectsFound) {
			return nil
		}
		return err
	})
	return files, err
}

// Sizes returns the bytes of the files, by name.
func (o *Objects) Sizes(ctx context.Context) (map[string]int64, error) {
	files, err := o.list(ctx)
	sizes := make(map[string]int64, len(files))
	for name, f := range files {
		sizes[name] = int64(f.Size)
	}
	return sizes, err
}

// Put writes the file at path as name, in place of a file of that name.
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
	ctx, cancel := objectTime(ctx, info.Size())
	defer cancel()
	_, err = o.store.Put(ctx, jetstream.ObjectMeta{Name: name}, file)
	return err
}

// Get copies the file called name to w.
func (o *Objects) Get(ctx context.Context, name string, w io.Writer) error {
	files, err := o.list(ctx)
	if err != nil {
		return err
	}
	if files[name] == nil {
		return fmt.Errorf("%s: %w", name, jetstream.ErrObjectNotFound)
	}
	ctx, cancel := objectTime(ctx, int64(files[name].Size))
	defer cancel()
	r, err := o.store.Get(ctx, name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Error(), r.Close())
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

// clean removes parts that belong to no file.
func (o *Objects) clean(ctx context.Context) error {
	files, err := o.list(ctx)
	if err != nil {
		return err
	}
	whole := make(map[string]bool)
	for _, f := range files {
		whole[o.parts(f.NUID)] = true
	}
	var info *jetstream.StreamInfo
	err = o.conn.ask(ctx, func(ctx context.Context) (err error) {
		info, err = o.stream.Info(ctx, jetstream.WithSubjectFilter(o.parts("*")))
		return err
	})
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		if strings.HasPrefix(subject, o.parts("")) && !whole[subject] {
			if err := o.purge(ctx, subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// objectTime bounds how long a file of n bytes may take.
func objectTime(ctx context.Context, n int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, RequestTimeout+time.Duration(n/objectRate)*time.Second)
}
