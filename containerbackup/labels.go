package containerbackup

import (
	"fmt"
	"strings"
	"time"
)

// Labels that Compose puts on what it makes.
const (
	labelProject  = "com.docker.compose.project"
	labelService  = "com.docker.compose.service"
	labelNumber   = "com.docker.compose.container-number"
	labelOneOff   = "com.docker.compose.oneoff"
	labelDepends  = "com.docker.compose.depends_on"
	labelFiles    = "com.docker.compose.project.config_files"
	labelWorkDir  = "com.docker.compose.project.working_dir"
	labelEnvFiles = "com.docker.compose.project.environment_file"
	labelVolume   = "com.docker.compose.volume"
)

// Words that a user puts on a container, with either prefix.
const (
	prefixShort = "syncfs.backup"
	prefixLong  = "io.github.syncfs.backup"
)

// How a container is kept from writing while its volumes are read.
const (
	holdPause = "pause"
	holdStop  = "stop"
	holdNone  = "none"
)

// defaultTimeout is how long a hook may take.
const defaultTimeout = 10 * time.Minute

// Wishes are what labels on a container say about its backup.
type Wishes struct {
	Skip    bool          // syncfs.backup=false: its data is not saved
	Hold    string        // syncfs.backup.stop=true|pause|false
	Pre     string        // syncfs.backup.pre: a command in the container, before
	Post    string        // syncfs.backup.post: and after
	Exclude []string      // syncfs.backup.exclude: paths in the container
	Binds   []string      // syncfs.backup.binds: bind mounts to save, by their path in the container; "all"
	User    string        // syncfs.backup.user: who dumps and runs hooks
	Timeout time.Duration // syncfs.backup.timeout: of hooks
}

// parseWishes reads a container's labels.
func parseWishes(labels map[string]string) (Wishes, error) {
	w := Wishes{Timeout: defaultTimeout}
	for key, value := range labels {
		word, ok := strings.CutPrefix(key, prefixShort)
		if !ok {
			word, ok = strings.CutPrefix(key, prefixLong)
		}
		if !ok || word != "" && word[0] != '.' {
			continue
		}
		if err := w.set(word, value); err != nil {
			return w, fmt.Errorf("label %s=%s: %w", key, value, err)
		}
	}
	return w, nil
}

func (w *Wishes) set(word, value string) (err error) {
	switch word {
	case "":
		var save bool
		save, err = yes(value)
		w.Skip = !save
	case ".stop":
		w.Hold, err = holdWord(value)
	case ".pre":
		w.Pre = value
	case ".post":
		w.Post = value
	case ".user":
		w.User = value
	case ".timeout":
		w.Timeout, err = time.ParseDuration(value)
		if err == nil && w.Timeout <= 0 {
			err = fmt.Errorf("a time above nothing is needed, such as 90s")
		}
	case ".exclude":
		w.Exclude, err = paths(value)
	case ".binds":
		if value == "all" || value == "true" {
			w.Binds = []string{"all"}
			return nil
		}
		w.Binds, err = paths(value)
	default:
		err = fmt.Errorf("there is no such word: false, pre, post, stop, exclude, binds, user, timeout are")
	}
	return err
}

func yes(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("true or false is needed")
}

func holdWord(value string) (string, error) {
	if value == holdPause {
		return holdPause, nil
	}
	stop, err := yes(value)
	if err != nil {
		return "", fmt.Errorf("true, pause or false is needed")
	}
	if stop {
		return holdStop, nil
	}
	return holdNone, nil
}

// paths are absolute paths in a container, separated by commas.
func paths(value string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if part[0] != '/' {
			return nil, fmt.Errorf("%q is no absolute path in the container", part)
		}
		list = append(list, part)
	}
	return list, nil
}
