package agent

import (
	"context"
	"errors"
	"fmt"

	live "github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

func mountReadOnly(ctx context.Context, o ReadOnlyOptions) error {
	if err := checkFUSE(); err != nil {
		return err
	}
	r, err := openReader(ctx, o.Dirs, o.Logger, true)
	if err != nil {
		return err
	}
	defer r.Close()
	r.SetLimits(o.Limits)
	folder, at, err := r.readOnlyTarget(ctx, o)
	if err != nil {
		return err
	}
	dir, err := r.mountPoint(o)
	if err != nil {
		return err
	}
	p, err := r.past(ctx, folder)
	if err != nil {
		return err
	}
	m, err := live.MountHistory(ctx, live.HistoryMountOptions{
		Source:     &source{past: p, trees: r.trees, contents: r.contents},
		MountPoint: dir, Folder: "syncfs:" + folder.Name, At: at,
		VersionsName: folder.VersionsName, AllowOther: o.AllowOther, Logger: o.Logger,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMount, err)
	}
	if o.Ready != nil {
		o.Ready()
	}
	select {
	case <-ctx.Done():
	case <-m.Done():
	}
	err = m.Unmount()
	var held *live.HeldError
	if errors.As(err, &held) {
		// It is off the tree; who has it open would keep us here for as long.
		return held
	}
	m.Wait()
	return err
}

// readOnlyTarget finds the folder and the instant.
func (r *Reader) readOnlyTarget(ctx context.Context, o ReadOnlyOptions) (FolderInfo, versions.Instant, error) {
	list, err := r.Folders(ctx)
	if err != nil {
		return FolderInfo{}, versions.Instant{}, err
	}
	for _, f := range list {
		if f.Name != o.Folder {
			continue
		}
		if o.At == nil {
			return f, versions.Instant{}, nil
		}
		found, err := r.At(ctx, Place{Folder: f}, *o.At)
		if err != nil {
			return f, versions.Instant{}, err
		}
		return f, found.Snapshot.Instant, nil
	}
	return FolderInfo{}, versions.Instant{}, fmt.Errorf("%w: %q; the repository has %s", ErrUnknown, o.Folder, folderNames(list))
}

// mountPoint is an empty directory that is none of ours.
func (r *Reader) mountPoint(o ReadOnlyOptions) (string, error) {
	if err := cleanStale(o.Dir, r.log); err != nil {
		return "", err
	}
	dir, err := ownPath(o.Dir)
	if err != nil {
		return "", err
	}
	for _, own := range []string{r.dirs.State, r.dirs.Cache, r.dirs.Runtime, r.dirs.Config} {
		if real, err := ownPath(own); err == nil && (config.Below(dir, real) || config.Below(real, dir)) {
			return "", fmt.Errorf("%w: %s and %s, which syncfs itself needs, overlap", ErrRefused, dir, real)
		}
	}
	if url := r.repo.Setup.URL; !isURL(url) && (config.Below(dir, url) || config.Below(url, dir)) {
		return "", fmt.Errorf("%w: %s and the repository %s overlap", ErrRefused, dir, url)
	}
	empty, err := isEmptyDir(dir)
	if err != nil {
		return "", err
	}
	if !empty {
		return "", fmt.Errorf("%w: %s is not empty", ErrMount, dir)
	}
	return dir, nil
}
