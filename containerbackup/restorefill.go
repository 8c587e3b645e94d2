package containerbackup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

func endpoint(name string, e *network.EndpointSettings) *network.NetworkingConfig {
	if e == nil {
		return nil
	}
	return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{name: e}}
}

// loadImages brings the images that the engine has not. A name that means another
// image by now is left to that.
func (r *restore) loadImages(ctx context.Context) error {
	for _, c := range r.plan.containers {
		id := c.saved.Image
		if r.image[id] != "" {
			continue
		}
		saved, ok := r.info.image(id)
		if !ok {
			return fmt.Errorf("container %s: %w: its image %s is not described", c.name, ErrFormat, id)
		}
		if _, err := r.e.api.ImageInspect(ctx, id); errdefs.IsNotFound(err) {
			if err := r.loadImage(ctx, saved); err != nil {
				return fmt.Errorf("load image %s: %w", called(saved), err)
			}
		} else if err != nil {
			return fmt.Errorf("inspect image %s: %w", called(saved), err)
		}
		if err := r.nameImage(ctx, saved, c.saved.Config.Image); err != nil {
			return fmt.Errorf("image %s: %w", called(saved), err)
		}
	}
	return nil
}

func called(img SavedImage) string {
	if len(img.Names) > 0 {
		return img.Names[0]
	}
	return img.ID
}

// nameImage gives an image its names where they are free, and finds the one by
// which a container is made.
func (r *restore) nameImage(ctx context.Context, saved SavedImage, wanted string) error {
	r.image[saved.ID] = saved.ID
	for _, name := range saved.Names {
		got, err := r.e.api.ImageInspect(ctx, name)
		if errdefs.IsNotFound(err) {
			_, err = r.e.api.ImageTag(ctx, client.ImageTagOptions{Source: saved.ID, Target: name})
			got.ID = saved.ID
		}
		if err != nil {
			return err
		}
		if got.ID != saved.ID {
			r.done.Notes = append(r.done.Notes, fmt.Sprintf("the name %s means another image by now (%s): containers are made from %s, which has no name", name, got.ID, saved.ID))
			continue
		}
		if name == wanted {
			r.image[saved.ID] = name
		}
	}
	return nil
}

// loadImage streams an image to the engine.
func (r *restore) loadImage(ctx context.Context, img SavedImage) error {
	if img.Config == "" {
		return fmt.Errorf("the backup was made without images, and the engine has not got %s: pull or build it, then run this again", img.ID)
	}
	r.o.Note("load image %s", called(img))
	r.loaded = append(r.loaded, img.ID)
	in, out := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		w := tar.NewWriter(out)
		err := writeImage(ctx, r.o.Trees, r.o.Contents, r.o.Root, w, img, nil)
		if err == nil {
			err = w.Close()
		}
		out.CloseWithError(err) // nil is the end
		return err
	})
	g.Go(func() error {
		got, err := r.e.api.ImageLoad(ctx, in)
		if err == nil {
			err = loadError(got)
			err = errors.Join(err, got.Close())
		}
		in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if _, err := r.e.api.ImageInspect(ctx, img.ID); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the engine has taken it for another image: %w", err)
	}
	return nil
}

// loadError reads what the engine tells of a load: an error comes with status 200.
func loadError(in io.Reader) error {
	for dec := json.NewDecoder(in); ; {
		var line struct {
			Error string `json:"error"`
		}
		err := dec.Decode(&line)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if line.Error != "" {
			return errors.New(line.Error)
		}
	}
}

// writeImage writes an image as docker save does; names are what it is to be
// called.
func writeImage(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry, w *tar.Writer, img SavedImage, names []string) error {
	one := archived{Config: blobPath(img.Config), RepoTags: names}
	written := map[string]bool{}
	for _, d := range append([]string{img.Config}, img.Layers...) {
		if d != img.Config {
			one.Layers = append(one.Layers, blobPath(d))
		}
		if written[d] {
			continue
		}
		written[d] = true
		e, err := trees.Resolve(ctx, root, path.Join(imagesDir, blobPath(d)))
		if err == nil {
			err = writeFile(ctx, contents, w, blobPath(d), e)
		}
		if err != nil {
			return err
		}
	}
	data, err := json.Marshal([]archived{one})
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: "manifest.json", Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// writeFile writes a stored file to a tar, plain.
func writeFile(ctx context.Context, contents *versions.Contents, w *tar.Writer, name string, e versions.Entry) error {
	f, err := openStored(ctx, contents, e)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: e.Size, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.Copy(w, f.SectionReader)
	return err
}

// makeVolumes makes the volumes and fills them. Those of databases that have dumps
// are left empty: the dumps fill them.
func (r *restore) makeVolumes(ctx context.Context) error {
	for _, v := range r.plan.volumes {
		if err := r.makeVolume(ctx, v); err != nil {
			return fmt.Errorf("volume %s: %w", v.name, err)
		}
		r.done.Volumes = append(r.done.Volumes, v.name)
	}
	return nil
}

func (r *restore) makeVolume(ctx context.Context, v plannedVolume) error {
	got, err := r.e.api.VolumeInspect(ctx, v.name, client.VolumeInspectOptions{})
	at := got.Volume.Mountpoint
	if errdefs.IsNotFound(err) {
		r.o.Note("make volume %s", v.name)
		var made client.VolumeCreateResult
		made, err = r.e.api.VolumeCreate(ctx, client.VolumeCreateOptions{Name: v.name, Driver: v.saved.Driver, DriverOpts: v.saved.Options, Labels: v.labels})
		at = made.Volume.Mountpoint
	}
	if err != nil {
		return err
	}
	if v.path == "" && !v.saved.Dumped {
		r.done.Notes = append(r.done.Notes, "volume "+v.name+" is not in the backup: its content is what is there")
		return nil
	}
	if at == "" {
		return fmt.Errorf("the engine does not tell where it is")
	}
	if err := empty(at); err != nil {
		return err
	}
	if v.path == "" {
		return nil
	}
	r.o.Note("fill volume %s", v.name)
	return r.fill(ctx, v.path, at, disk.ReplaceExisting)
}

// empty removes what is in a directory, and not the directory.
func empty(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fill writes a part of the snapshot to a directory of the host.
func (r *restore) fill(ctx context.Context, from, to string, existing disk.Existing) error {
	e, err := r.o.Trees.Resolve(ctx, r.o.Root, from)
	if err != nil {
		return err
	}
	rep, err := disk.Restore(ctx, r.o.Trees, r.o.Contents, e, to, disk.RestoreOptions{Existing: existing, Numeric: true, Sync: true})
	if err != nil {
		return err
	}
	for _, n := range rep.Notes {
		r.done.Notes = append(r.done.Notes, fmt.Sprintf("%s: %s (%d files)", path.Join(from, n.Path), n.Note.Error(), n.Count))
	}
	if len(rep.Failed) > 0 {
		return fmt.Errorf("%d files could not be written, first %w", len(rep.Failed), rep.Failed[0])
	}
	if len(rep.Refused) > 0 {
		return fmt.Errorf("%s is in the way", path.Join(to, rep.Refused[0]))
	}
	return nil
}

// fillBinds writes bind mounts back to where they were bound from. What is there
// and not in the backup stays.
func (r *restore) fillBinds(ctx context.Context) error {
	for _, b := range r.plan.binds {
		e, err := r.o.Trees.Resolve(ctx, r.o.Root, b.path)
		if err != nil {
			return fmt.Errorf("bind mount %s: %w", b.source, err)
		}
		r.o.Note("fill %s", b.source)
		if e.Kind == versions.Dir {
			err = r.fill(ctx, b.path, b.source, disk.ReplaceExisting)
		} else {
			err = r.writeBound(ctx, e, b.source)
		}
		if err != nil {
			return fmt.Errorf("bind mount %s: %w", b.source, err)
		}
	}
	return nil
}

// writeBound writes a single file that is bound into a container.
func (r *restore) writeBound(ctx context.Context, e versions.Entry, to string) error {
	e.Name = filepath.Base(to)
	rep, err := disk.Restore(ctx, r.o.Trees, r.o.Contents, e, filepath.Dir(to), disk.RestoreOptions{Existing: disk.ReplaceExisting, Numeric: true, Sync: true})
	if err == nil && len(rep.Failed) > 0 {
		err = rep.Failed[0]
	}
	return err
}

// plantDump puts the dump of a database that reads it at its start where that is
// no volume: a volume's files are as new.
func (r *restore) plantDump(ctx context.Context, c plannedContainer) error {
	if c.base == nil || c.base.Kind != redis || len(c.base.Dumps) == 0 {
		return nil
	}
	dir := c.base.Dir
	if slices.ContainsFunc(c.saved.Mounts, func(m mountPoint) bool {
		return m.Type != mount.TypeTmpfs && (m.Destination == dir || strings.HasPrefix(dir, strings.TrimSuffix(m.Destination, "/")+"/"))
	}) {
		return nil
	}
	e, err := r.o.Trees.Resolve(ctx, r.o.Root, c.base.Dumps[0].File)
	if err != nil {
		return err
	}
	in, out := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		w := tar.NewWriter(out)
		err := writeFile(ctx, r.o.Contents, w, "dump.rdb", e)
		if err == nil {
			err = w.Close()
		}
		out.CloseWithError(err)
		return err
	})
	g.Go(func() error {
		_, err := r.e.api.CopyToContainer(ctx, r.ids[c.name], client.CopyToContainerOptions{DestinationPath: dir, Content: in})
		in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		return err
	})
	return g.Wait()
}
