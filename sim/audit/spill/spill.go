// Package spill keeps records in files for the time of an audit, so that memory does not
// grow with their number.
//
// It promises that nothing is left in the file system once it is closed. What is in a
// record is for its user to know.
package spill

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// PartFiles are records in files, apart by number. Not safe for concurrent use.
type PartFiles struct {
	dir   string
	files []*os.File
	to    []*bufio.Writer
}

// New returns n empty files in a folder of its own in dir; "" means that of the
// system for temporary files.
func New(dir string, n int) (*PartFiles, error) {
	folder, err := os.MkdirTemp(dir, "pingline-audit-")
	if err != nil {
		return nil, err
	}
	s := &PartFiles{dir: folder}
	for i := range n {
		file, err := os.OpenFile(fmt.Sprintf("%s/%d", folder, i), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.files = append(s.files, file)
		s.to = append(s.to, bufio.NewWriterSize(file, 1<<16))
	}
	return s, nil
}

// Put appends a record to file i.
func (s *PartFiles) Put(i int, record []byte) error {
	_, err := s.to[i].Write(record)
	return err
}

// Read returns the records of file i, from the first one on.
func (s *PartFiles) Read(i int) (*bufio.Reader, error) {
	if err := s.to[i].Flush(); err != nil {
		return nil, err
	}
	if _, err := s.files[i].Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(s.files[i], 1<<18), nil
}

// Drop frees the disk of file i.
func (s *PartFiles) Drop(i int) error { return s.files[i].Truncate(0) }

// Close removes the files. A nil one has none.
func (s *PartFiles) Close() error {
	if s == nil {
		return nil
	}
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// Each calls f for each record of file i, all of one size.
func (s *PartFiles) Each(i, size int, f func(record []byte) error) error {
	in, err := s.Read(i)
	if err != nil {
		return err
	}
	record := make([]byte, size)
	for {
		switch _, err := io.ReadFull(in, record); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := f(record); err != nil {
			return err
		}
	}
}
