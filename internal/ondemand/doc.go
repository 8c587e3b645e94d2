// Package ondemand brings what of a folder is not on this disk: it fills
// directories with stubs when they are first looked into, and files with their
// content when they are first read, and takes content away again that is not
// used. It works on the plain files below the mount, by descriptor.
package ondemand

// The states of a file or directory.
const (
	Local   = "local"   // its content is here
	Absent  = "stub"    // it is not
	Partial = "partial" // some of it is
	Pinned  = "pinned"  // it is here, and stays
)

// Report is what EvictAll did.
type Report struct {
	Files, Bytes int64
	Stays        int64   // files that are still here
	Why          []error // of the first of them
}

// maxWhy bounds the reasons that a Report gives.
const maxWhy = 20

func (r *Report) stays(err error) {
	r.Stays++
	if len(r.Why) < maxWhy {
		r.Why = append(r.Why, err)
	}
}
