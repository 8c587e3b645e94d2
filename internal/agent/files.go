package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/config"
)

// Where things lie below config.Dirs.State. All but the database are plain
// files that cannot be rebuilt.
func repositoryFile(d config.Dirs) string { return filepath.Join(d.State, "repository.json") }
func identityFile(d config.Dirs) string   { return filepath.Join(d.State, "device.key") }
func protectedFile(d config.Dirs) string  { return filepath.Join(d.State, "device.key.age") } // instead, when a passphrase protects it
func keyringDir(d config.Dirs) string     { return filepath.Join(d.State, "keyring") }
func schedulesFile(d config.Dirs) string  { return filepath.Join(d.State, "schedules.json") }
func foldersFile(d config.Dirs) string    { return filepath.Join(d.State, "folders.json") }
func lockFile(d config.Dirs) string       { return filepath.Join(d.State, "agent.lock") }
func databaseDir(d config.Dirs) string    { return filepath.Join(d.State, "db") }
func spoolDir(d config.Dirs) string       { return filepath.Join(d.State, "spool", "packs") }
func chunkCacheDir(d config.Dirs) string  { return filepath.Join(d.Cache, "chunks") }

func folderDir(d config.Dirs, id string) string { return filepath.Join(d.State, "folders", id) }
func queueDir(d config.Dirs, id string) string {
	return filepath.Join(d.State, "spool", "snapshots", id)
}

const fileFormat = 1

// repository is what a machine knows of the repository that it is connected to.
type repository struct {
	Format int    `json:"format"`
	URL    string `json:"url"`
	Key    string `json:"key,omitempty"`
	Pin    string `json:"pin,omitempty"`
	ID     string `json:"repository"`
	Device string `json:"device"`
	Label  string `json:"label"`
}

func (r repository) setup() Setup {
	return Setup{Repository: r.ID, URL: r.URL, Pin: r.Pin, Device: r.Device, Label: r.Label}
}

// readRepository reads the connection; ErrNotConnected.
func readRepository(d config.Dirs) (repository, error) {
	var r repository
	err := readJSON(repositoryFile(d), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return repository{}, fmt.Errorf("%w: run \"syncfs init\" or \"syncfs connect\" first", ErrNotConnected)
	}
	if err == nil && r.Format != fileFormat {
		err = fmt.Errorf("%s: format %d is not known", repositoryFile(d), r.Format)
	}
	return r, err
}

// registered is a folder of the repository that this machine has.
type registered struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Kind         string `json:"kind"`
	Path         string `json:"path,omitempty"`
	RawPath      []byte `json:"raw_path"` // Path, whose bytes need not be UTF-8
	NoMount      bool   `json:"no_mount,omitempty"`
	VersionsName string `json:"versions_name,omitempty"`
	Show         string `json:"show,omitempty"`
	Content      string `json:"content,omitempty"` // on-demand: the name of the directory that holds what is here
	Stopped      bool   `json:"stopped,omitempty"` // by umount: not served until mount
	Pause        pause  `json:"pause,omitzero"`
}

// foldersJSON is the list of folders as it lies on the disk.
type foldersJSON struct {
	Format  int          `json:"format"`
	Folders []registered `json:"folders"`
}

func readFolders(d config.Dirs) ([]registered, error) {
	var f foldersJSON
	err := readJSON(foldersFile(d), &f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if f.Format != fileFormat {
		return nil, fmt.Errorf("%s: format %d is not known", foldersFile(d), f.Format)
	}
	for i := range f.Folders {
		f.Folders[i].Path = string(f.Folders[i].RawPath)
	}
	return f.Folders, nil
}

func writeFolders(d config.Dirs, list []registered) error {
	for i := range list {
		list[i].RawPath = []byte(list[i].Path)
	}
	return writeJSON(foldersFile(d), foldersJSON{Format: fileFormat, Folders: list})
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(data, '\n'), 0o600)
}
