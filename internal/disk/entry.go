package disk

import "github.com/syncfs/syncfs/versions"

// entryOf is the part of an entry that a Stat tells.
func entryOf(name string, st Stat, owners *Owners) versions.Entry {
	kind, ok := st.Kind()
	if !ok {
		return versions.Entry{Name: name}
	}
	e := versions.Entry{
		Name: name, Kind: kind, Mode: st.Mode & 0o7777, MTime: st.MTime,
		UID: st.UID, GID: st.GID, User: owners.User(st.UID), Group: owners.Group(st.GID),
	}
	switch kind {
	case versions.File:
		e.Size = st.Size
	case versions.CharDev, versions.BlkDev:
		e.Device = st.Device
	}
	return e
}
