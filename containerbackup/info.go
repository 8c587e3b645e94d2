package containerbackup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/syncfs/syncfs/versions"
)

// Names of files in a snapshot.
const (
	infoName    = "container_info.json"
	composeName = "docker-compose.yml"
	envName     = "environment_snapshot.txt"
	dumpName    = "database_dump.sql"
)

// infoFormat is that of container_info.json.
const infoFormat = 1

// Info is what container_info.json says: what was saved, and how to make the
// project again.
type Info struct {
	Format  int       `json:"format"`
	Project string    `json:"project"`
	Type    string    `json:"type"` // "compose", "container"
	Name    string    `json:"name,omitempty"`
	Time    time.Time `json:"time"` // all volumes that were held are as they were then
	Host    string    `json:"host"`
	Engine  string    `json:"engine"`

	Databases  []SavedDatabase   `json:"databases"`
	Volumes    []SavedVolume     `json:"volumes"`
	Binds      []SavedBind       `json:"binds"`
	Images     []SavedImage      `json:"images"`
	Networks   []network.Network `json:"networks"`
	Containers []SavedContainer  `json:"containers"`

	Held     []SavedHold `json:"held"`
	Skew     float64     `json:"skew_seconds"` // from the first dump to the pause: how far apart the parts are
	Warnings []string    `json:"warnings"`
}

// SavedDatabase is a database in one container, with its dumps.
type SavedDatabase struct {
	Service   string      `json:"service"`
	Container string      `json:"container"`
	Kind      string      `json:"kind"`
	Version   string      `json:"version"`
	Dir       string      `json:"data_directory"`
	Dumps     []SavedDump `json:"dumps"`
}

// SavedDump is one dump.
type SavedDump struct {
	Database string    `json:"database,omitempty"` // "": all that the server has beside its databases
	File     string    `json:"file"`
	Bytes    int64     `json:"bytes"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
}

// SavedVolume is a volume.
type SavedVolume struct {
	Name    string            `json:"name"`
	Driver  string            `json:"driver"`
	Options map[string]string `json:"options,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Path    string            `json:"path,omitempty"`   // in the snapshot; "": it was not read
	Dumped  bool              `json:"dumped,omitempty"` // a database's, which its dumps bring back
	Files   int64             `json:"files"`
	Bytes   int64             `json:"bytes"`
	Started time.Time         `json:"started,omitzero"`
	Ended   time.Time         `json:"ended,omitzero"`
}

// SavedBind is what was bound into containers from the host.
type SavedBind struct {
	Source string `json:"source"`
	Path   string `json:"path,omitempty"` // in the snapshot; "": it was not named to be saved
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// SavedImage is an image.
type SavedImage struct {
	ID       string   `json:"id"`
	Names    []string `json:"names"`
	Manifest string   `json:"manifest,omitempty"` // digests of blobs in images/; none where images were left out
	Config   string   `json:"config,omitempty"`
	Layers   []string `json:"layers,omitempty"`
}

// SavedContainer is a container, as the engine describes it.
type SavedContainer struct {
	Name       string                               `json:"name"`
	Service    string                               `json:"service"`
	ID         string                               `json:"id"`
	Image      string                               `json:"image"`
	Running    bool                                 `json:"running"`
	Config     *container.Config                    `json:"config"`
	HostConfig *container.HostConfig                `json:"host_config"`
	Networks   map[string]*network.EndpointSettings `json:"networks"`
	Mounts     []container.MountPoint               `json:"mounts"`
}

// SavedHold is how long a container was kept from writing.
type SavedHold struct {
	Container string    `json:"container"`
	How       string    `json:"how"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
}

// maxInfo bounds what is read of a container_info.json.
const maxInfo = 64 << 20

// DecodeInfo reads a container_info.json. ErrNewer, ErrFormat.
func DecodeInfo(data []byte) (*Info, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", infoName, ErrFormat, err)
	}
	switch {
	case version.Format > infoFormat:
		return nil, fmt.Errorf("%s: %w: format %d, this program knows %d: update it", infoName, ErrNewer, version.Format, infoFormat)
	case version.Format < 1:
		return nil, fmt.Errorf("%s: %w: it has no format", infoName, ErrFormat)
	}
	var i Info
	if err := json.Unmarshal(data, &i); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", infoName, ErrFormat, err)
	}
	for _, c := range i.Containers {
		if c.Config == nil || c.HostConfig == nil || c.Name == "" {
			return nil, fmt.Errorf("%s: %w: container %q is not described", infoName, ErrFormat, c.Name)
		}
	}
	return &i, nil
}

// fill makes lists of what is none, for programs that read them.
func (i *Info) fill() {
	i.Databases = append([]SavedDatabase{}, i.Databases...)
	i.Volumes = append([]SavedVolume{}, i.Volumes...)
	i.Binds = append([]SavedBind{}, i.Binds...)
	i.Images = append([]SavedImage{}, i.Images...)
	i.Networks = append([]network.Network{}, i.Networks...)
	i.Containers = append([]SavedContainer{}, i.Containers...)
	i.Held = append([]SavedHold{}, i.Held...)
	i.Warnings = append([]string{}, i.Warnings...)
}

func (i *Info) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(i)
	return b.Bytes(), err
}

// ReadInfo reads what a snapshot says of itself; root is the snapshot's.
func ReadInfo(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry) (*Info, error) {
	data, err := readFile(ctx, trees, contents, root, infoName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it has no %s", ErrFormat, infoName)
	}
	if err != nil {
		return nil, err
	}
	return DecodeInfo(data)
}

func readFile(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry, path string) ([]byte, error) {
	e, err := trees.Resolve(ctx, root, path)
	if err != nil {
		return nil, err
	}
	f, err := openStored(ctx, contents, e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if e.Size > maxInfo {
		return nil, fmt.Errorf("%s: %w: it is too large", path, ErrFormat)
	}
	return io.ReadAll(f)
}

// readSums reads the manifest of a snapshot.
func readSums(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry) (*sums, error) {
	e, err := trees.Resolve(ctx, root, manifestName)
	if err != nil {
		return nil, err
	}
	f, err := openStored(ctx, contents, e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSums(f)
}

// image finds a saved image by id.
func (i *Info) image(id string) (SavedImage, bool) {
	for _, img := range i.Images {
		if img.ID == id {
			return img, true
		}
	}
	return SavedImage{}, false
}

// volume finds a saved volume by name.
func (i *Info) volume(name string) (SavedVolume, bool) {
	for _, v := range i.Volumes {
		if v.Name == name {
			return v, true
		}
	}
	return SavedVolume{}, false
}
