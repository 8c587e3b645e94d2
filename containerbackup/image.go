package containerbackup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/syncfs/syncfs/versions"
)

const (
	imagesDir = "images"
	blobsDir  = "images/blobs/sha256"
)

// archived is one image in the manifest.json that docker load reads.
type archived struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saveImages puts a project's images into the tree, as an OCI layout that docker
// load of any version takes as well. What the last backup has is not exported.
func (b *backup) saveImages(ctx context.Context) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var list []archived
	for _, id := range slices.Sorted(maps.Keys(b.project.images)) {
		pic := b.project.images[id]
		img, again, err := b.savedImage(ctx, pic)
		if err != nil {
			return fmt.Errorf("image %s: %w", pic.called(), err)
		}
		if !again {
			b.o.Note("image %s", pic.called())
			if img, err = b.exportImage(ctx, pic); err != nil {
				return fmt.Errorf("image %s: %w", pic.called(), err)
			}
		}
		img.Names = pic.names
		manifest, err := b.manifest(ctx, &img)
		if err != nil {
			return fmt.Errorf("image %s: %w", pic.called(), err)
		}
		index.Manifests = append(index.Manifests, named(manifest, pic.names)...)
		one := archived{Config: blobPath(img.Config), RepoTags: pic.names}
		for _, layer := range img.Layers {
			one.Layers = append(one.Layers, blobPath(layer))
		}
		list = append(list, one)
		b.info.Images = append(b.info.Images, img)
	}
	for name, v := range map[string]any{
		"index.json": index, "manifest.json": list, ocispec.ImageLayoutFile: ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := b.tree.writeBytes(ctx, path.Join(imagesDir, name), data); err != nil {
			return err
		}
	}
	return nil
}

func (p *picture) called() string {
	if len(p.names) > 0 {
		return p.names[0]
	}
	return p.id
}

// blobPath is where a blob lies below images/.
func blobPath(d string) string { return "blobs/sha256/" + strings.TrimPrefix(d, "sha256:") }

// named is a manifest once for each name that its image has.
func named(d ocispec.Descriptor, names []string) []ocispec.Descriptor {
	var list []ocispec.Descriptor
	for _, name := range names {
		ref, err := reference.ParseDockerRef(name)
		if err != nil {
			continue // a name that only this engine understands is in manifest.json
		}
		one := d
		one.Annotations = map[string]string{"io.containerd.image.name": ref.String()}
		if tagged, ok := ref.(reference.Tagged); ok {
			one.Annotations[ocispec.AnnotationRefName] = tagged.Tag()
		}
		list = append(list, one)
	}
	if list == nil {
		list = []ocispec.Descriptor{d}
	}
	return list
}

// savedImage takes an image over from the last backup, if that has it whole.
func (b *backup) savedImage(ctx context.Context, pic *picture) (SavedImage, bool, error) {
	if b.last == nil {
		return SavedImage{}, false, nil
	}
	img, ok := b.last.info.image(pic.id)
	if !ok || img.Config == "" {
		return SavedImage{}, false, nil
	}
	found := map[string]versions.Entry{}
	for _, d := range append([]string{img.Config}, img.Layers...) {
		e, err := b.o.Trees.Resolve(ctx, b.last.root, path.Join(imagesDir, blobPath(d)))
		if errors.Is(err, fs.ErrNotExist) {
			return SavedImage{}, false, nil
		}
		if err != nil {
			return SavedImage{}, false, err
		}
		found[d] = e
	}
	for d, e := range found {
		if err := b.blob(d, e); err != nil {
			return SavedImage{}, false, err
		}
	}
	return img, true, nil
}

// blob places stored content under its digest.
func (b *backup) blob(d string, e versions.Entry) error {
	var sum [sha256.Size]byte
	if n, err := hex.Decode(sum[:], []byte(strings.TrimPrefix(d, "sha256:"))); err != nil || n != len(sum) {
		return fmt.Errorf("%q: %w", d, ErrFormat)
	}
	at := path.Join(imagesDir, blobPath(d))
	e.Name = ""
	b.tree.file(at, &e, sum)
	b.blobs[d] = e.Size
	return nil
}

// part is a file of an exported image that is stored.
type part struct {
	entry  versions.Entry
	digest string
}

// maxImageIndex bounds the manifest.json of an exported image.
const maxImageIndex = 16 << 20

// exportImage streams an image out of the engine into the tree.
func (b *backup) exportImage(ctx context.Context, pic *picture) (SavedImage, error) {
	out, err := b.e.api.ImageSave(ctx, []string{pic.id})
	if err != nil {
		return SavedImage{}, err
	}
	defer out.Close()
	parts, index, err := b.unpack(ctx, tar.NewReader(bufio.NewReaderSize(out, 1<<20)))
	if err != nil {
		return SavedImage{}, err
	}
	if len(index) != 1 {
		return SavedImage{}, fmt.Errorf("%w: the engine exported %d images for one", ErrFormat, len(index))
	}
	img := SavedImage{ID: pic.id}
	place := func(name string) (string, error) {
		p, ok := parts[path.Clean(name)]
		if !ok {
			return "", fmt.Errorf("%w: its %s is missing in what the engine exported", ErrFormat, name)
		}
		return p.digest, b.blob(p.digest, p.entry)
	}
	if img.Config, err = place(index[0].Config); err != nil {
		return SavedImage{}, err
	}
	for _, layer := range index[0].Layers {
		d, err := place(layer)
		if err != nil {
			return SavedImage{}, err
		}
		img.Layers = append(img.Layers, d)
	}
	if len(img.Layers) != len(pic.layers) {
		return SavedImage{}, fmt.Errorf("%w: the engine exported %d layers of %d", ErrFormat, len(img.Layers), len(pic.layers))
	}
	return img, nil
}

// unpack stores the files of an exported image, whatever they are called, and
// reads its manifest.json.
func (b *backup) unpack(ctx context.Context, in *tar.Reader) (map[string]part, []archived, error) {
	parts := map[string]part{}
	links := map[string]string{}
	var index []archived
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read what the engine exported: %w", err)
		}
		name, err := inside("", h.Name)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink:
			dir := path.Dir(name)
			if h.Typeflag == tar.TypeLink {
				dir = ""
			}
			if links[name], err = inside(dir, h.Linkname); err != nil {
				return nil, nil, err
			}
		case h.Typeflag != tar.TypeReg:
		case name == "manifest.json":
			if err := json.NewDecoder(io.LimitReader(in, maxImageIndex)).Decode(&index); err != nil {
				return nil, nil, fmt.Errorf("manifest.json: %w: %w", ErrFormat, err)
			}
		case path.Base(name) == "repositories", path.Base(name) == "VERSION", path.Base(name) == "json":
		default:
			hash := sha256.New()
			e, err := b.o.Contents.Write(ctx, io.TeeReader(in, hash))
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			parts[name] = part{entry: e, digest: "sha256:" + hex.EncodeToString(hash.Sum(nil))}
		}
	}
	for name := range links {
		if p, ok := parts[follow(links, name)]; ok {
			parts[name] = p
		}
	}
	return parts, index, nil
}

// follow goes along links until there is none; a circle ends somewhere.
func follow(links map[string]string, name string) string {
	for range len(links) {
		next, ok := links[name]
		if !ok {
			break
		}
		name = next
	}
	return name
}

// inside is the path that name means in dir of an archive. ErrHostile where it
// leads out of it.
func inside(dir, name string) (string, error) {
	clean := path.Join(dir, name)
	if strings.HasPrefix(name, "/") || !fs.ValidPath(clean) {
		return "", fmt.Errorf("%w: %q", ErrHostile, name)
	}
	return clean, nil
}

// manifest writes the OCI manifest of an image.
func (b *backup) manifest(ctx context.Context, img *SavedImage) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.Digest(img.Config), Size: b.blobs[img.Config]},
	}
	for _, layer := range img.Layers {
		kind, err := b.layerType(ctx, layer)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: kind, Digest: digest.Digest(layer), Size: b.blobs[layer]})
	}
	data, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := digest.FromBytes(data)
	img.Manifest = d.String()
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(data))},
		b.tree.writeBytes(ctx, path.Join(imagesDir, blobPath(img.Manifest)), data)
}

// layerType is how a layer is compressed: engines differ.
func (b *backup) layerType(ctx context.Context, layer string) (string, error) {
	e, ok := b.tree.at(path.Join(imagesDir, blobPath(layer)))
	if !ok {
		return "", fmt.Errorf("layer %s: %w", layer, ErrFormat)
	}
	f, err := openStored(ctx, b.o.Contents, e)
	if err != nil {
		return "", err
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 4))
	if err != nil {
		return "", err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return ocispec.MediaTypeImageLayerGzip, nil
	case bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return ocispec.MediaTypeImageLayerZstd, nil
	}
	return ocispec.MediaTypeImageLayer, nil
}
