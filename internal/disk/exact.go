package disk

import "slices"

// Exact tells whether what a name leads to is called so, to the byte: a disk that
// folds names leads there from others as well.
func (d *Dir) Exact(name string) (bool, error) {
	if !d.Folds() {
		return true, nil
	}
	names, err := d.List()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(names, func(n Dirent) bool { return n.Name == name }), nil
}
