package main

import (
	"bufio"
	"os"
	"strings"
)

// mayAllowOther tells whether this user may let others into a mount.
func mayAllowOther() bool {
	if os.Geteuid() == 0 {
		return true
	}
	f, err := os.Open("/etc/fuse.conf")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.TrimSpace(s.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}
