package atomicfile

import "os"

// linkNew gives from the name to, if that is free, and takes its old name away.
// Where the old name stays, a sweep takes it.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	os.Remove(from)
	return nil
}
