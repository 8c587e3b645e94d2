package containerbackup

// groupOf is the group that a file belongs to: sockets have none here.
func groupOf(string) (int, bool) { return 0, false }
