package folder

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"
)

// spillAt is how much of a build's records is kept in memory.
const spillAt = 4 << 20

// spill keeps a build's new records until they are recorded: in memory, beyond
// a bound in a file that has no name.
type spill struct {
	dir string

	mu   sync.Mutex // guards all below
	buf  []byte
	file *os.File
	n    int
}

// add appends one record; the last for a directory counts.
func (s *spill) add(dir string, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = binary.AppendUvarint(s.buf, uint64(len(dir)))
	s.buf = append(s.buf, dir...)
	s.buf = binary.AppendUvarint(s.buf, uint64(len(record)))
	s.buf = append(s.buf, record...)
	s.n++
	if len(s.buf) < spillAt {
		return nil
	}
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "syncfs-records-*")
		if err != nil {
			return fmt.Errorf("keep records: %w", err)
		}
		_ = os.Remove(file.Name()) // where an open file cannot be removed, close does
		s.file = file
	}
	if _, err := s.file.Write(s.buf); err != nil {
		return fmt.Errorf("keep records: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

// each calls fn for every record in the order they came.
func (s *spill) each(fn func(dir string, record []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read kept records: %w", err)
		}
		r := bufio.NewReaderSize(s.file, 256<<10)
		for {
			dir, err := readBytes(r)
			if err == io.EOF { //nolint:errorlint // io.EOF as it is: the end
				break
			}
			if err != nil {
				return fmt.Errorf("read kept records: %w", err)
			}
			record, err := readBytes(r)
			if err != nil {
				return fmt.Errorf("read kept records: %w", err)
			}
			if err := fn(string(dir), record); err != nil {
				return err
			}
		}
	}
	rest := s.buf
	for len(rest) > 0 {
		n, after, _ := uvarint(rest)
		dir := string(after[:n])
		n, after, _ = uvarint(after[n:])
		if err := fn(dir, after[:n:n]); err != nil {
			return err
		}
		rest = after[n:]
	}
	return nil
}

func readBytes(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("cut short: %w", err)
	}
	return b, nil
}

// close drops everything.
func (s *spill) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = nil
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name()) // gone already but on systems that keep open files
		s.file = nil
	}
}
