// Package syncer keeps one folder and its line of snapshots on the remote
// equal: it captures what changed, sends it, and applies what others sent.
//
// What it knows is (base, queue): the base is the newest snapshot that both the
// remote's line and this machine's tree have; the queue holds the snapshots
// taken since, each a child of the one before. Both are plain files, replaced
// atomically, and a crash at any point leaves one of the states below:
//
//	chunks durable in the spool -> snapshot in the queue -> folder's records
//	-> packs and snapshot on the remote, head moved -> base -> queue entry gone
//
// After a crash the step that was cut is done again and finds what it did.
package syncer
