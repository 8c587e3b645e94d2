// Package containerbackup makes snapshots of Docker Compose projects and brings
// projects back from them.
//
// A snapshot holds, at one instant, what a project is made of:
//
//	container_info.json        what was saved, when, and how to make it again
//	backup_manifest.txt        SHA-256 of every other file, as sha256sum -c reads it
//	environment_snapshot.txt   the engine, the host, what was running
//	docker-compose.yml         and the other files Compose was given
//	database_dump.sql          where the project has one database
//	databases/SERVICE/         dumps, made by the database's own tools
//	volumes/NAME/              volumes, file by file
//	binds/N/                   bind mounts that a label names
//	images/                    an OCI layout, which docker load takes as well
//	config/                    environment files, and each container as it was
//
// It takes two methods to store chunks, not a store, and is the only package
// that knows the Docker client. Where a snapshot goes is its caller's.
package containerbackup

import "errors"

// Conditions that a caller may branch on.
var (
	ErrNoEngine   = errors.New("no container engine answers")
	ErrNoProject  = errors.New("there is no such project")
	ErrNothing    = errors.New("there is nothing to save")
	ErrDump       = errors.New("the dump failed")
	ErrDied       = errors.New("a container ended during the backup")
	ErrMismatch   = errors.New("not as it was saved")
	ErrNewer      = errors.New("it was made by a newer version of this program")
	ErrOccupied   = errors.New("the project exists")
	ErrCannotName = errors.New("it cannot be brought back under another name")
	ErrUnhealthy  = errors.New("it does not become healthy")
	ErrHostile    = errors.New("an archive names what it must not")
	ErrFormat     = errors.New("this is no container backup")
)
