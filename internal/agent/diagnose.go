package agent

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/remote"
)

// ServerState is how the server answers this machine.
type ServerState struct {
	URL     string
	Version string
	Role    string        // of this machine's key
	Took    time.Duration // to answer
	Ahead   time.Duration // of its clock before ours; to a second
	Expires time.Time     // of its certificate; zero without TLS
	Pinned  bool          // the certificate is known by its fingerprint, whatever it says
}

// LookAtServer asks the server of this HOME's repository who it is. A repository
// in a directory has none: its directory is looked at, and the URL is its path.
func LookAtServer(ctx context.Context, dirs config.Dirs, log *slog.Logger) (ServerState, error) {
	r, err := readRepository(dirs)
	if err != nil {
		return ServerState{}, err
	}
	s := ServerState{URL: r.URL, Pinned: r.Pin != ""}
	if !isURL(r.URL) {
		return s, isRepository(r.URL)
	}
	c, err := remote.NewClient(remote.ClientOptions{URL: r.URL, Key: r.Key, Pin: r.Pin, Logger: log, Tries: 2})
	if err != nil {
		return s, err
	}
	defer c.Close()
	begin := time.Now()
	info, err := c.Probe(ctx)
	if err != nil {
		return s, err
	}
	s.Took = time.Since(begin)
	s.Version, s.Role, s.Expires = info.Version, string(info.Role), info.Expires
	if !info.Time.IsZero() {
		// Its clock was read somewhere within the time that it took.
		s.Ahead = info.Time.Sub(begin.Add(s.Took / 2)).Round(time.Second)
	}
	return s, nil
}

// Leftover tells whether an agent that was killed has left this HOME in a state
// that CleanMounts puts right: a process that cannot end, or the folders whose
// mounts nobody serves. It is asked when no agent answers.
func Leftover(dirs config.Dirs) (dyingPID int, dead []string, err error) {
	if o := readOwner(lockFile(dirs)); o.pid != 0 && o.pid != os.Getpid() && len(o.connections) > 0 && lingering(o.pid) {
		return o.pid, nil, nil // its mounts answer nobody
	}
	folders, err := readFolders(dirs)
	if err != nil {
		return 0, nil, err
	}
	for _, f := range folders {
		is, err := isDead(f.Path)
		if err != nil {
			return 0, nil, err
		}
		if is {
			dead = append(dead, f.Path)
		}
	}
	return 0, dead, nil
}
