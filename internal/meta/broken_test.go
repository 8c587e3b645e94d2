package meta_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/meta"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("META_TEST_WRITE"); dir != "" {
		if err := write(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("META_TEST_OPEN"); dir != "" {
		db, err := meta.Open(dir, nil)
		switch {
		case err == nil:
			fmt.Println("opened", readAll(db), db.Close())
		case errors.Is(err, meta.ErrBroken):
			fmt.Println("broken")
		default:
			fmt.Println("error", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// write writes for ever, saying after each write that it is done.
func write(dir string) error {
	db, err := meta.Open(dir, nil)
	if err != nil {
		return err
	}
	f := db.Folder("one")
	last, _, err := f.LastNumber()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for n := int(last) + 1; ; n++ {
		s := snap(uint64(n), at(int64(n)), change("", n), change("a", n))
		if err := f.PutSnapshots([]meta.Snapshot{s}, inline); err != nil {
			return err
		}
		err := f.Records().Update(func(set func(string, []byte) error) error {
			return set("a", bytes.Repeat([]byte(strconv.Itoa(n)+" "), 1+n%7*9000))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// readAll reads everything that there may be, and says what is wrong.
func readAll(db *meta.DB) error {
	f := db.Folder("one")
	_, err := f.Snapshots()
	_, err2 := f.Moments("")
	err3 := f.Records().Each(func(string, []byte) error { return nil })
	return errors.Join(err, err2, err3)
}

func TestKilledInTheMiddleOfWrites(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	total, acked := 0, 0 // snapshots there; writes that were said to be done
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "META_TEST_WRITE="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Fatalf("round %d: the writer says %q", round, lines.Text())
		}
		time.AfterFunc(time.Duration(rng.IntN(60))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("the writer says %q", lines.Text())
			}
			acked = n
		}
		_ = cmd.Wait() // killed

		db, err := meta.Open(dir, nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		f := db.Folder("one")
		last, _, err := f.LastNumber()
		list, err2 := f.Snapshots()
		if err != nil || err2 != nil || int(last) < acked || len(list) < int(last) {
			t.Fatalf("round %d: %d acknowledged, last number %d, %d snapshots, %v, %v", round, acked, last, len(list), err, err2)
		}
		if got := len(moments(t, f, "a")); got < int(last) {
			t.Fatalf("round %d: %d moments of %d", round, got, last)
		}
		for i, s := range list[:last] {
			if s.Number != uint64(i+1) {
				t.Fatalf("round %d: snapshot %d has number %d", round, i+1, s.Number)
			}
		}
		record, err := f.Records().Get("a")
		if err != nil {
			t.Fatal(err)
		}
		if record != nil {
			n, _ := strconv.Atoi(string(record[:bytes.IndexByte(record, ' ')]))
			if want := bytes.Repeat([]byte(strconv.Itoa(n)+" "), 1+n%7*9000); n < acked || !bytes.Equal(record, want) {
				t.Fatalf("round %d: record of write %d, %d bytes; %d acknowledged", round, n, len(record), acked)
			}
		}
		total = int(last)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if total < 12 {
		t.Errorf("only %d writes in all rounds", total)
	}
}

func TestAnotherProcessHoldsTheLock(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "META_TEST_WRITE="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the writer says %q", lines.Text())
	}
	_, err = meta.Open(dir, nil)
	if !errors.Is(err, meta.ErrLocked) || errors.Is(err, meta.ErrBroken) {
		t.Fatalf("got %v", err)
	}
	if want := fmt.Sprintf("process %d", cmd.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name %s", err, want)
	}
}

// filled makes a closed database with tables of several levels.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db, err := meta.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := db.Folder("one")
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 40 {
		put(t, f, snap(uint64(n+1), at(int64(n+1)), change("", n+1)))
		err := f.Records().Update(func(set func(string, []byte) error) error {
			for i := range 40 {
				value := make([]byte, 5000)
				for k := range value {
					value[k] = byte(rng.Uint32())
				}
				if err := set(fmt.Sprintf("d%d/%d", n, i), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// killed makes a database that its process was killed over, logs and tables.
func killed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "META_TEST_WRITE="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "100"; {
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return dir
}

// TestDamagedFiles damages each file in several ways. A process of its own
// opens it, since some damage makes Badger end the process. Damage is found or
// does no harm; nothing panics or hangs.
func TestDamagedFiles(t *testing.T) {
	damages := []struct {
		name string
		do   func(data []byte) []byte
	}{
		{"empty", func(data []byte) []byte { return nil }},
		{"half", func(data []byte) []byte { return data[:len(data)/2] }},
		{"one byte short", func(data []byte) []byte { return data[:max(0, len(data)-1)] }},
		{"garbage", func(data []byte) []byte {
			rng := rand.New(rand.NewPCG(7, uint64(len(data))))
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			return data
		}},
		{"a flipped bit", func(data []byte) []byte {
			if len(data) > 0 {
				data[len(data)/3] ^= 4
			}
			return data
		}},
		{"zeros at the end", func(data []byte) []byte {
			clear(data[len(data)/2:])
			return data
		}},
	}
	for name, original := range map[string]string{"closed": filled(t), "killed": killed(t)} {
		for file, mustFind := range filesToDamage(t, original) {
			for _, damage := range damages {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, file)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, damage.do(data), 0o600); err != nil {
					t.Fatal(err)
				}
				got := openElsewhere(t, dir)
				// A kill may leave a table that the manifest does not name yet, or
				// any more, and the manifest's last record cut: no harm is done.
				mustFind := mustFind && name == "closed"
				if got != "broken" && (mustFind || got != "opened <nil> <nil>") {
					t.Errorf("%s: %s, %s: %s", name, file, damage.name, got)
				}
			}
		}
	}
}

// filesToDamage names one or two files of each type; true when all damage to
// it must be found.
func filesToDamage(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files := map[string]bool{"KEYREGISTRY": false, "DISCARD": false, "MANIFEST": true}
	for pattern, must := range map[string]bool{"*.sst": true, "*.mem": false, "*.vlog": false} {
		list, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || (len(list) == 0 && pattern == "*.sst") {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range list[:min(2, len(list))] {
			files[filepath.Base(path)] = must
		}
	}
	return files
}

func openElsewhere(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "META_TEST_OPEN="+dir)
	kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("process ended: %v: %.300s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestAnotherFormatVersionIsBroken(t *testing.T) {
	dir := filled(t)
	path := filepath.Join(dir, "MANIFEST")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[5]++ // the external version
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := meta.Open(dir, nil); !errors.Is(err, meta.ErrBroken) {
		t.Errorf("got %v", err)
	}
}

func TestLogsWithoutAByteAreNoDamage(t *testing.T) {
	dir := filled(t)
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := readAll(open(t, dir)); err != nil {
		t.Error(err)
	}
}

func TestMissingFilesAreBroken(t *testing.T) {
	for _, pattern := range []string{"MANIFEST", "*.sst"} {
		dir := filled(t)
		list, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(list) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		if err := os.Remove(list[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := meta.Open(dir, nil); !errors.Is(err, meta.ErrBroken) {
			t.Errorf("without %s: %v", pattern, err)
		}
	}
}

func TestOpeningThatEndsTheProcessAgainAndAgainIsBroken(t *testing.T) {
	dir := filled(t)
	if err := os.WriteFile(filepath.Join(dir, "OPENING"), []byte("3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := meta.Open(dir, nil); !errors.Is(err, meta.ErrBroken) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "OPENING"), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "OPENING")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark stays: %v", err)
	}
}
