package meta_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/meta"
)

func TestCloseEndsWhenTheDirectoryIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db, err := meta.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Folder("f").Records().Update(func(set func(string, []byte) error) error { return set("a", []byte("b")) })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- db.Close() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("closing a database whose directory is gone said that all is well")
		}
	case <-time.After(time.Minute):
		t.Fatal("Close hangs")
	}
}
