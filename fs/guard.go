//go:build linux

package fs

import (
	"fmt"
	"io"
	"os/exec"
)

// Guard is a process beside this one that sees to it that this one dies when it
// is killed. It is told of that by the end of what it reads, or finds out.
type Guard struct {
	cmd *exec.Cmd
	end io.Closer
}

// StartGuard starts a guard by its command line.
func StartGuard(command []string) (*Guard, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "/"
	end, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &Guard{cmd: cmd, end: end}, nil
}

// Stop ends the guard.
func (g *Guard) Stop() {
	_ = g.end.Close()
	_ = g.cmd.Wait() // how it ended changes nothing
}
