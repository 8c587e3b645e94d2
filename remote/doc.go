// Package remote is the file server of a repository and its client.
//
// The server puts a blob.Store behind HTTP: it streams, answers a put only when
// it is durable, tells subscribers of moved heads, and never sees a key or a
// plaintext of the repository. Client implements blob.Store and blob.Watcher
// over it. docs/remote-api.md describes the API to the byte.
package remote
