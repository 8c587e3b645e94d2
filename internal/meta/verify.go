package meta

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// verify reads every table that the manifest names and checks it in full (a
// few milliseconds: the whole database is some tens of megabytes).
func verify(dir string, o badger.Options) error {
	listed, err := readManifest(dir, o)
	if errors.Is(err, fs.ErrNotExist) {
		if tables, _ := filepath.Glob(filepath.Join(dir, "*.sst")); len(tables) > 0 {
			return broken(dir, errors.New("its manifest is missing"))
		}
		return nil
	}
	if err != nil {
		return broken(dir, err)
	}
	var newest uint64 // write in any table
	for id, t := range listed.Tables {
		if int(t.Level) >= o.MaxLevels {
			return broken(dir, fmt.Errorf("table %d is at level %d", id, t.Level))
		}
		version, err := verifyTable(table.NewFilename(id, dir), o)
		if err != nil {
			return broken(dir, fmt.Errorf("table %d: %w", id, err))
		}
		newest = max(newest, version)
	}
	return verifyUnlisted(dir, o, listed, newest)
}

// verifyUnlisted looks at the tables that the manifest does not list, because
// Badger removes them. After a crash that is right: what they hold is in a log
// or in listed tables as well. When the manifest was cut short, it is not.
func verifyUnlisted(dir string, o badger.Options, listed badger.Manifest, newest uint64) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("local database: %w", err)
	}
	logged := uint64(math.MaxUint64) // the oldest write in the logs
	for _, file := range files {
		if filepath.Ext(file.Name()) == ".mem" {
			logged = min(logged, firstLogged(filepath.Join(dir, file.Name())))
		}
	}
	for _, file := range files {
		id, ok := table.ParseFileID(file.Name())
		if _, isListed := listed.Tables[id]; !ok || isListed {
			continue
		}
		version, err := verifyTable(filepath.Join(dir, file.Name()), o)
		if err != nil {
			continue // half written
		}
		if version > newest && version < logged {
			return broken(dir, fmt.Errorf("its manifest does not list table %d", id))
		}
	}
	return nil
}

// removeEmptyLogs removes the logs that a crash left between their creation and
// their first byte: Badger would not open them.
func removeEmptyLogs(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("local database: %w", err)
	}
	for _, file := range files {
		ext := filepath.Ext(file.Name())
		fi, err := file.Info()
		if err != nil {
			return fmt.Errorf("local database: %w", err)
		}
		if (ext == ".mem" || ext == ".vlog") && fi.Size() == 0 {
			if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
				return fmt.Errorf("local database: %w", err)
			}
		}
	}
	return nil
}

// firstLogged is the first write in a log; none is the greatest number. A log
// has a header of 20 bytes; an entry begins with two bytes of flags, the
// lengths of key and value and a time as uvarints; a key ends with its write's
// number, counted down from the greatest.
func firstLogged(path string) uint64 {
	const none = math.MaxUint64
	fp, err := os.Open(path)
	if err != nil {
		return none
	}
	defer fp.Close()
	r := bufio.NewReader(io.NewSectionReader(fp, 20, 1<<20))
	if _, err := r.Discard(2); err != nil {
		return none
	}
	var head [3]uint64
	for i := range head {
		if head[i], err = binary.ReadUvarint(r); err != nil {
			return none
		}
	}
	key := make([]byte, min(head[0], math.MaxUint16))
	if _, err := io.ReadFull(r, key); err != nil || len(key) < 8 {
		return none
	}
	return none - binary.BigEndian.Uint64(key[len(key)-8:])
}

func readManifest(dir string, o badger.Options) (m badger.Manifest, err error) {
	fp, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return m, err
	}
	defer fp.Close()
	err = guard(func() (err error) {
		m, _, err = badger.ReplayManifestFile(fp, o.ExternalMagicVersion, o)
		return err
	})
	return m, err
}

// verifyTable checks one table and returns its newest write. What would make
// Badger end the process is looked at first: the lengths at the table's end.
func verifyTable(path string, o badger.Options) (newest uint64, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if err := verifyFooter(path, fi.Size()); err != nil {
		return 0, err
	}
	err = guard(func() error {
		file, err := z.OpenMmapFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		t, err := table.OpenTable(file, table.Options{
			BlockSize:   o.BlockSize,
			TableSize:   uint64(o.BaseTableSize),
			ChkMode:     options.OnTableRead,
			Compression: o.Compression,
		})
		if err != nil {
			return err
		}
		newest = t.MaxVersion()
		return t.Close(-1)
	})
	return newest, err
}

// verifyFooter: a table ends with INDEX, length of INDEX, CHECKSUM, length of
// CHECKSUM (4 bytes each, big-endian).
func verifyFooter(path string, size int64) error {
	fp, err := os.Open(path)
	if err != nil {
		return err
	}
	defer fp.Close()
	end := size
	for range 2 {
		var b [4]byte
		end -= int64(len(b))
		if end < 0 {
			return errCut
		}
		if _, err := fp.ReadAt(b[:], end); err != nil {
			return err
		}
		length := int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
		if end -= length; end < 0 {
			return errCut
		}
	}
	return nil
}

var errCut = errors.New("cut short or damaged")

// opening counts the starts that ended the process while the database was
// being opened. What verify does not find shows after a few of them.
type opening struct{ path string }

const openingTries = 3

func beginOpening(dir string) (opening, error) {
	o := opening{filepath.Join(dir, "OPENING")}
	tries := 0
	if data, err := os.ReadFile(o.path); err == nil {
		tries, _ = strconv.Atoi(string(data))
	}
	if tries >= openingTries {
		return o, broken(dir, fmt.Errorf("opening it ended the process %d times", tries))
	}
	if err := os.WriteFile(o.path, []byte(strconv.Itoa(tries+1)), 0o600); err != nil {
		return o, fmt.Errorf("local database: %w", err)
	}
	return o, nil
}

func (o opening) done() error {
	if err := os.Remove(o.path); err != nil {
		return fmt.Errorf("local database: %w", err)
	}
	return nil
}
