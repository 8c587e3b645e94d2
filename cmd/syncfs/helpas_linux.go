package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// helpAs runs the helper again as the user whose repository it is, with that
// user's environment: mount(8) and the units of systemd have none. It stays in
// the process group, by which autofs knows that it is not to be waited for.
func (e *env) helpAs(ctx context.Context, s helperSettings, name, dir string) error {
	u, err := user.Current()
	if s.user != "" {
		if u, err = user.Lookup(s.user); err != nil {
			u, err = user.LookupId(s.user)
		}
	}
	if err != nil {
		return err
	}
	cred, err := credential(u)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("only root may mount as another user (setuid=%s)", s.user)
	}
	args := []string{helperCommand, name, dir}
	var options []string
	if s.at != "" {
		options = append(options, `at="`+s.at+`"`)
	}
	if s.allowOther {
		options = append(options, "allow_other")
	}
	if len(options) > 0 {
		args = append(args, "-o", strings.Join(options, ","))
	}
	cmd := exec.CommandContext(ctx, e.exe, args...)
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	path := e.getenv("PATH")
	if path == "" {
		path = "/usr/sbin:/usr/bin:/sbin:/bin"
	}
	cmd.Env = []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username, "PATH=" + path}
	// There the agent of the user listens.
	if runtime := "/run/user/" + u.Uid; ownedBy(runtime, cred.Uid) {
		cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+runtime)
	}
	cmd.Env = append(cmd.Env, s.env...)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return coded(exit.ExitCode(), errSaid)
	}
	return err
}

func credential(u *user.User) (*syscall.Credential, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Username, err)
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of %s: %w", u.Username, err)
	}
	for _, g := range groups {
		id, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("groups of %s: %w", u.Username, err)
		}
		c.Groups = append(c.Groups, uint32(id))
	}
	return c, nil
}

func ownedBy(dir string, uid uint32) bool {
	info, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == uid
}

// automounted tells whether autofs waits at path for somebody to look into it.
func automounted(path string) bool {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		field := strings.Fields(s.Text())
		if len(field) > 2 && field[2] == "autofs" && unescape(field[1]) == path {
			return true
		}
	}
	return false
}
