package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountedHere tells whether a mount of ours is at path. It asks the kernel's
// table, not the mount, which may not answer.
func mountedHere(path string) (bool, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return false, err
	}
	defer f.Close()
	found := false
	s := bufio.NewScanner(f)
	for s.Scan() {
		field := strings.Fields(s.Text())
		if len(field) > 2 && unescape(field[1]) == path {
			found = field[2] == "fuse.syncfs" // the last one covers those before
		}
	}
	return found, s.Err()
}

// unescape reads the \040 of /proc/mounts.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unmount ends the mount at path.
func unmount(ctx context.Context, path string, lazy bool) error {
	flags, option := unix.UMOUNT_NOFOLLOW, "-u"
	if lazy {
		flags, option = flags|unix.MNT_DETACH, "-uz"
	}
	err := unix.Unmount(path, flags)
	if errors.Is(err, unix.EPERM) {
		out, ferr := exec.CommandContext(ctx, "fusermount3", option, "--", path).CombinedOutput()
		if ferr == nil {
			return nil
		}
		return fmt.Errorf("unmount %s: %s: %w", path, strings.TrimSpace(string(out)), ferr)
	}
	if errors.Is(err, unix.EBUSY) {
		return hinted(coded(exitBusy, fmt.Errorf("%s is in use", path)), "`fuser -vm %s` shows who uses it; --lazy unmounts all the same", path)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}
