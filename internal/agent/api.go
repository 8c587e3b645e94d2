package agent

import (
	"time"
)

// AddRequest makes a directory of this machine a folder of the repository.
type AddRequest struct {
	Path         string `json:"path"`                    // absolute
	Name         string `json:"name,omitempty"`          // "": the directory's name
	NoMount      bool   `json:"no_mount,omitempty"`      // a plain directory that is watched
	VersionsName string `json:"versions_name,omitempty"` // "": ".versions"
	Show         string `json:"show,omitempty"`          // where .versions is listed: "root" (also ""), "none", "all"
}

// GetRequest brings a folder of the repository to this machine.
type GetRequest struct {
	Name         string `json:"name"`
	Path         string `json:"path"` // absolute; made when it is not there
	NoMount      bool   `json:"no_mount,omitempty"`
	VersionsName string `json:"versions_name,omitempty"`
	Show         string `json:"show,omitempty"`
	OnDemand     bool   `json:"on_demand,omitempty"` // content comes when it is read
}

// PinRequest pins a path of an on-demand folder, or takes the pin away.
type PinRequest struct {
	Path string `json:"path"` // absolute
	Pin  bool   `json:"pin"`
}

// EvictRequest takes the content at a path of an on-demand folder off this
// disk.
type EvictRequest struct {
	Path string `json:"path"` // absolute
}

// EvictResult is what was taken off the disk, and what was not.
type EvictResult struct {
	Files int64    `json:"files"`
	Bytes int64    `json:"bytes"`
	Stay  int64    `json:"stay"`          // files that are still here
	Why   []string `json:"why,omitempty"` // of the first of them
}

// FlushRequest waits until what was closed before it is on the remote.
type FlushRequest struct {
	Name    string        `json:"name,omitempty"`    // "": every folder
	Timeout time.Duration `json:"timeout,omitempty"` // 0: no limit
}

// Progress of a long call.
type Progress struct {
	Stage      string `json:"stage"` // "scan", "read", "upload", "fetch", "apply"
	Folder     string `json:"folder,omitempty"`
	Files      int64  `json:"files"`
	TotalFiles int64  `json:"total_files,omitempty"` // 0: not known
	Bytes      int64  `json:"bytes"`
	TotalBytes int64  `json:"total_bytes,omitempty"`
}

// State is how safe a folder is, in one word.
type State string

// The states of a folder.
const (
	StateSafe        State = "safe"        // everything is on the remote
	StatePending     State = "pending"     // on its way
	StateOffline     State = "offline"     // captured here, the remote cannot be reached
	StateUnprotected State = "unprotected" // the spool is full: changes are on this disk only
	StateProblem     State = "problem"     // needs the user: see Problems
	StateHeld        State = "held"        // deletions wait for the user's word: see Holds; all else goes on
	StateStarting    State = "starting"    // being scanned or fetched
	StatePaused      State = "paused"      // nothing is sent or applied: see PausedUntil
	StateLocked      State = "locked"      // a passphrase is needed before anything can be read: a plain directory till then
	StateStopped     State = "stopped"     // registered, but not served just now: see Error
)

// Problem is one thing that a user should know of.
type Problem struct {
	Path string `json:"path,omitempty"`
	Text string `json:"text"`
	Note bool   `json:"note,omitempty"` // harmless
}

// FolderInfo describes a folder, here or only in the repository.
type FolderInfo struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Kind         string    `json:"kind"`
	Path         string    `json:"path"` // "" when it is not on this machine
	Mounted      bool      `json:"mounted"`
	NoMount      bool      `json:"no_mount,omitempty"`
	OnDemand     bool      `json:"on_demand,omitempty"`
	Content      string    `json:"content,omitempty"` // on-demand: where what is here lies
	VersionsName string    `json:"versions_name,omitempty"`
	Instant      string    `json:"instant"` // of the newest snapshot; "" while there is none
	Time         time.Time `json:"time"`    // the same
	Files        int64     `json:"files"`
	Bytes        int64     `json:"bytes"`
}

// FolderStatus is how a folder of this machine is.
type FolderStatus struct {
	FolderInfo
	State        State     `json:"state"`
	PendingFiles int64     `json:"pending_files"` // changed and in no snapshot yet
	PendingBytes int64     `json:"pending_bytes"`
	Queued       int       `json:"queued"`               // snapshots that are not on the remote yet
	HereBytes    int64     `json:"here_bytes,omitempty"` // on-demand: content on this disk, when it was last counted
	LastSnapshot time.Time `json:"last_snapshot"`
	LastSync     time.Time `json:"last_sync"`       // when the remote last had everything
	Error        string    `json:"error,omitempty"` // the last one, if it still holds
	Problems     []Problem `json:"problems,omitempty"`
	Paused       bool      `json:"paused"`
	PausedUntil  time.Time `json:"paused_until,omitzero"` // absent: until resumed
	Refused      bool      `json:"refused,omitempty"`     // the remote is not as this machine left it, and can be accepted
	Holds        []Hold    `json:"holds,omitempty"`
	Waiting      int       `json:"waiting,omitempty"` // changes of others that wait for files in use here
	Conflicts    int       `json:"conflicts"`         // conflict copies in the tree
	Activity     *Progress `json:"activity,omitempty"`
	// Passthrough tells of a mount how its files are read and written.
	Passthrough *Passthrough `json:"passthrough,omitempty"`
}

// Passthrough is how the files of a mount were opened since it was mounted.
type Passthrough struct {
	On     bool  `json:"on"`     // the kernel lets this user
	Passed int64 `json:"passed"` // the kernel reads and writes the plain file itself
	Served int64 `json:"served"` // the agent does
}

// Status is the whole agent.
type Status struct {
	PID        int            `json:"pid"`
	Version    string         `json:"version,omitempty"`
	Repository string         `json:"repository"` // its id
	URL        string         `json:"url"`
	Locked     bool           `json:"locked,omitempty"` // a passphrase is needed, and nothing is served; without Error it is being looked for
	Online     bool           `json:"online"`
	Error      string         `json:"error,omitempty"` // why it is not online
	SpoolBytes int64          `json:"spool_bytes"`
	CacheBytes int64          `json:"cache_bytes"`
	Limits     Limits         `json:"limits"`
	Since      time.Time      `json:"since"`
	Notes      []string       `json:"notes,omitempty"` // what the agent did by itself, such as building its database anew
	Folders    []FolderStatus `json:"folders"`
}

// Operation is one line of the operations log.
type Operation struct {
	Time    time.Time `json:"time"`
	Folder  string    `json:"folder,omitempty"`
	What    string    `json:"what"` // see docs/json.md
	Instant string    `json:"instant,omitempty"`
	Path    string    `json:"path,omitempty"` // that it is about
	RawPath string    `json:"path_quoted,omitempty"`
	Text    string    `json:"text,omitempty"`
	// Files are the first of Total that have arrived, or left; of older
	// operations only Total is kept.
	Files []FileChange `json:"files,omitempty"`
	Total int64        `json:"total,omitempty"`
}

// FileChange is one path that has arrived or left.
type FileChange struct {
	Path    string `json:"path"`
	RawPath string `json:"path_quoted,omitempty"` // Go syntax, when the path is not UTF-8
	Change  string `json:"change"`                // "created", "modified", "deleted", "metadata"
	Type    string `json:"type"`
	Size    int64  `json:"size"` // afterwards; of what was deleted, before
}
