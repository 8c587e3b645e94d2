package ignore

import "strings"

// BuiltinSource is the source of the rules that need no file.
const BuiltinSource = "built-in"

// Builtin are the rules that hold in every folder, unless a line such as
// "!.DS_Store" says otherwise. Each names what a program makes for itself on one
// machine, exactly enough that nobody's work is called so: no backups of editors
// (*~, *.bak, #name#), which hold text that somebody may want, and no unfinished
// downloads.
func Builtin() *File {
	hex := func(n int) string { return strings.Repeat("[0-9a-f]", n) }
	lines := []string{
		// Editors at work: vim, Kate, Emacs (a lock), LibreOffice, Microsoft Office.
		".*.sw[nop]", ".*.swx", ".*.swpx", ".*.kate-swp", ".#*", ".~lock.*#", "~$*",
		// Files that somebody has open and removed: NFS, FUSE.
		".nfs" + hex(24), ".fuse_hidden" + hex(16),
		// What desktops keep beside files.
		".DS_Store", "Thumbs.db", ".Trash-[0-9]*/",
		// What belongs to a disk, where the folder is one.
		"/lost+found/", "/.Trash/", "/.Trashes/", "/.Spotlight-V100/", "/.fseventsd/",
		"/.TemporaryItems/", "/.DocumentRevisions-V100/", "/System Volume Information/", "/$RECYCLE.BIN/",
		// Our own, where a restore was cut.
		".syncfs-part-*",
	}
	return Parse(BuiltinSource, []byte(strings.Join(lines, "\n")))
}
