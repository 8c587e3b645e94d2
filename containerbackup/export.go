package containerbackup

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/versions"
)

// Export writes a snapshot to an empty or new directory for people without this
// program: dumps and configuration as they are, each volume and each image a
// .tar.gz (images as docker load takes them), and a manifest of these files. dir
// becomes readable by its owner alone, since there are secrets in it.
func Export(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry, dir string, note func(format string, args ...any)) error {
	info, err := ReadInfo(ctx, trees, contents, root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	x := &exporter{ctx: ctx, trees: trees, contents: contents, root: root, info: info, dir: dir, sums: newSums(), note: note}
	if err := x.run(); err != nil {
		return fmt.Errorf("export to %s: %w", dir, err)
	}
	return nil
}

type exporter struct {
	ctx      context.Context // of one export
	trees    *versions.Trees
	contents *versions.Contents
	root     versions.Entry
	info     *Info
	dir      string
	sums     *sums
	note     func(format string, args ...any)
}

func (x *exporter) run() error {
	top, err := x.trees.Read(x.ctx, x.root.Tree)
	if err != nil {
		return err
	}
	for _, e := range top {
		switch {
		case e.Name == manifestName, e.Name == imagesDir:
		case e.Name == "volumes" || e.Name == "binds":
			err = x.archives(e)
		default:
			err = x.plain(e.Name, e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if err := x.images(); err != nil {
		return err
	}
	// Last: with it the export is whole.
	f, err := atomicfile.Create(filepath.Join(x.dir, manifestName), 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.Copy(f, x.sums.reader()); err != nil {
		return err
	}
	return f.Commit()
}

// plain writes a file, or all below a directory, as it is.
func (x *exporter) plain(name string, e versions.Entry) error {
	return x.trees.Walk(x.ctx, e, func(below string, e versions.Entry) error {
		if e.Kind != versions.File {
			return nil
		}
		return x.write(path.Join(name, below), func(w io.Writer) error {
			f, err := openStored(x.ctx, x.contents, e)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f.SectionReader)
			return err
		})
	})
}

// archives writes a .tar.gz of each volume or bind mount.
func (x *exporter) archives(dir versions.Entry) error {
	list, err := x.trees.Read(x.ctx, dir.Tree)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := path.Join(dir.Name, e.Name)
		if e.Kind != versions.Dir {
			if err := x.plain(name, e); err != nil {
				return err
			}
			continue
		}
		x.note("%s.tar.gz", name)
		err := x.packed(name+".tar.gz", func(w *tar.Writer) error { return writeTree(x.ctx, x.trees, x.contents, e, w) })
		if err != nil {
			return err
		}
	}
	return nil
}

// images writes a .tar.gz of each image, called by its name.
func (x *exporter) images() error {
	taken := map[string]bool{}
	for _, img := range x.info.Images {
		if img.Config == "" {
			continue
		}
		name := strings.NewReplacer("/", "_", ":", "_", "@", "_").Replace(called(img))
		for taken[name] {
			name += "_"
		}
		taken[name] = true
		name += "_image.tar.gz"
		x.note("%s", name)
		err := x.packed(name, func(w *tar.Writer) error {
			return writeImage(x.ctx, x.trees, x.contents, x.root, w, img, img.Names)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// packed writes a compressed archive.
func (x *exporter) packed(name string, fill func(*tar.Writer) error) error {
	return x.write(name, func(out io.Writer) error {
		z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
		if err != nil {
			return err
		}
		w := tar.NewWriter(z)
		if err := fill(w); err != nil {
			return err
		}
		return errors.Join(w.Close(), z.Close())
	})
}

// write makes one file and notes its checksum.
func (x *exporter) write(name string, fill func(io.Writer) error) error {
	at := filepath.Join(x.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	f, err := atomicfile.Create(at, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	hash := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, hash), 1<<20)
	if err := fill(w); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	x.sums.set(name, [sha256.Size]byte(hash.Sum(nil)))
	return f.Commit()
}

// writeTree writes a directory to a tar with all that a tar holds: owners, modes,
// links, devices, extended attributes.
func writeTree(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry, w *tar.Writer) error {
	links := map[[16]byte]string{}
	return trees.Walk(ctx, root, func(rel string, e versions.Entry) error {
		h := &tar.Header{
			Name: "./" + rel, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID), ModTime: time.Unix(0, e.MTime), Format: tar.FormatPAX,
		}
		for _, x := range e.Xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
		}
		switch e.Kind {
		case versions.Dir:
			h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
		case versions.Symlink:
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
		case versions.CharDev, versions.BlkDev:
			h.Typeflag = tar.TypeChar
			if e.Kind == versions.BlkDev {
				h.Typeflag = tar.TypeBlock
			}
			h.Devmajor, h.Devminor = deviceNumbers(e.Device)
		default:
			h.Typeflag, h.Size = tar.TypeReg, e.Size
			if first, ok := links[e.Link]; ok && e.Link != ([16]byte{}) {
				h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, first
			} else {
				links[e.Link] = h.Name
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", strconv.Quote(rel), err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil
		}
		f, err := openStored(ctx, contents, e)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f.SectionReader)
		return err
	})
}

// deviceNumbers takes a Linux device number apart.
func deviceNumbers(dev uint64) (major, minor int64) {
	return int64(dev>>8&0xfff | dev>>32&^0xfff), int64(dev&0xff | dev>>12&^0xff)
}
