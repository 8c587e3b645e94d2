package atomicfile

import "os"

// linkNew gives from the name to, if that is free, and takes its old name away.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
