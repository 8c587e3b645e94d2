package agent

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

// Place is a path within a folder.
type Place struct {
	Folder FolderInfo
	Rel    string            // slash-separated; "" is the folder itself
	At     *versions.Instant // set when the path was one inside .versions/INSTANT/
}

// Locate finds the folder of an argument: a path in a local folder (also below
// .versions/INSTANT), or NAME:REL for any folder of the repository. ErrOutside
// names the folders that there are.
func (r *Reader) Locate(ctx context.Context, arg string) (Place, error) {
	list, err := r.Folders(ctx)
	if err != nil {
		return Place{}, err
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return Place{}, err
	}
	// The directory is resolved, not the last name: it may be a symlink itself.
	candidates := []string{abs}
	if dir, err := ownPath(filepath.Dir(abs)); err == nil {
		candidates = append(candidates, filepath.Join(dir, filepath.Base(abs)))
	}
	if real, err := ownPath(abs); err == nil {
		candidates = append(candidates, real)
	}
	for _, c := range candidates {
		for _, f := range list {
			if f.Path != "" && config.Below(c, f.Path) {
				rel := strings.TrimPrefix(strings.TrimPrefix(c, f.Path), string(filepath.Separator))
				return place(f, filepath.ToSlash(rel)), nil
			}
		}
	}
	if f, rel, ok := SplitName(list, arg); ok {
		return place(f, rel), nil
	}
	for _, c := range candidates {
		if f, rel, ok := SplitName(list, hostName()+":"+filepath.ToSlash(c)); ok {
			return place(f, rel), nil
		}
	}
	if name, _, ok := strings.Cut(arg, ":"); ok {
		return Place{}, fmt.Errorf("%w: %q; the repository has %s", ErrUnknown, name, folderNames(list))
	}
	return Place{}, fmt.Errorf("%w: %s; there are %s; a path in any of them is also spelled NAME:PATH", ErrOutside, arg, folderNames(list))
}

// SplitName finds the folder that NAME:REL begins with. What is saved of a path is
// called HOST:PATH, so HOST:PATH/REL is one of these as well. Of several folders
// the one with the longest name is meant.
func SplitName(list []FolderInfo, arg string) (folder FolderInfo, rel string, ok bool) {
	for _, f := range list {
		rest, begins := strings.CutPrefix(arg, f.Name)
		if !begins || ok && len(f.Name) < len(folder.Name) {
			continue
		}
		if rest != "" && rest[0] != ':' && !(rest[0] == '/' || strings.HasSuffix(f.Name, "/")) {
			continue
		}
		if !strings.Contains(f.Name, ":") && (rest == "" || rest[0] != ':') {
			continue
		}
		folder, rel, ok = f, strings.TrimPrefix(path.Clean("/"+strings.TrimPrefix(rest, ":")), "/"), true
	}
	return folder, rel, ok
}

// place takes DIR/.versions/INSTANT/REST apart.
func place(f FolderInfo, rel string) Place {
	name := f.VersionsName
	if name == "" {
		name = ".versions"
	}
	parts := strings.Split(rel, "/")
	for i, part := range parts {
		if part != name || i+1 >= len(parts) {
			continue
		}
		at, err := versions.ParseInstant(parts[i+1])
		if err != nil {
			break
		}
		rest := append(append([]string{}, parts[:i]...), parts[i+2:]...)
		return Place{Folder: f, Rel: strings.Join(rest, "/"), At: &at}
	}
	return Place{Folder: f, Rel: rel}
}
