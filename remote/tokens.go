package remote

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// Token is one key that a server accepts, without the key itself.
type Token struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Hash    string    `json:"sha256"` // of the key, hexadecimal
	Created time.Time `json:"created"`
}

// Tokens are the keys that a server accepts. They lie hashed in one file, which
// may be changed (Add, Remove) while another process serves: it notices within
// a second. It may be used by many goroutines at once.
type Tokens struct {
	path string
	now  func() time.Time

	mu      sync.Mutex // guards all below
	stored  []Token    // as in the file
	granted []Token    // given by Grant; in memory only
	seen    fileState  // of the file, when it was read
	checked time.Time  // when the file was last looked at
	problem error      // of the last look; the tokens before it stay in force
}

// fileState tells a replaced file from the one that was read.
type fileState struct {
	size  int64
	mtime time.Time
	info  os.FileInfo
}

func (s fileState) same(info os.FileInfo) bool {
	if s.info == nil || info == nil {
		return s.info == nil && info == nil
	}
	return s.size == info.Size() && s.mtime.Equal(info.ModTime()) && os.SameFile(s.info, info)
}

// tokenFile is the file's content.
type tokenFile struct {
	Version int     `json:"version"`
	Tokens  []Token `json:"tokens"`
}

// LoadTokens reads the token file at path; one that does not exist holds no
// token. now may be nil.
func LoadTokens(path string, now func() time.Time) (*Tokens, error) {
	if now == nil {
		now = time.Now
	}
	t := &Tokens{path: path, now: now}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

// read takes in the file; t.mu is held.
func (t *Tokens) read() error {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		t.stored, t.seen = nil, fileState{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the token file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat the token file: %w", err)
	}
	var file tokenFile
	if err := json.NewDecoder(f).Decode(&file); err != nil {
		return fmt.Errorf("token file %s: %w", t.path, err)
	}
	if file.Version != 1 {
		return fmt.Errorf("token file %s: version %d is not known", t.path, file.Version)
	}
	for _, token := range file.Tokens {
		if _, err := parseHexDigest(token.Hash); err != nil || token.Role.level() == 0 || !validTokenName(token.Name) {
			return fmt.Errorf("token file %s: token %q makes no sense", t.path, clip(token.Name))
		}
	}
	t.stored = file.Tokens
	t.seen = fileState{size: info.Size(), mtime: info.ModTime(), info: info}
	return nil
}

// refresh reads the file again when it was replaced; t.mu is held.
func (t *Tokens) refresh() {
	now := t.now()
	if since := now.Sub(t.checked); since >= 0 && since < time.Second {
		return
	}
	t.checked = now
	info, err := os.Stat(t.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.problem = err
		return
	}
	if !t.seen.same(info) {
		t.problem = t.read()
	}
}

// Lookup finds the token of a key. It takes the same time whatever the key.
func (t *Tokens) Lookup(key string) (Token, bool) {
	sum := sha256.Sum256([]byte(key))
	hash := []byte(hex.EncodeToString(sum[:]))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	found := -1
	all := append(slices.Clone(t.granted), t.stored...)
	for i := range all {
		if subtle.ConstantTimeCompare([]byte(all[i].Hash), hash) == 1 {
			found = i
		}
	}
	if found < 0 || key == "" {
		return Token{}, false
	}
	return all[found], true
}

// valid tells whether a token that was looked up before is still in force.
func (t *Tokens) valid(token Token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	same := func(other Token) bool { return other.Hash == token.Hash && other.Role == token.Role }
	return slices.ContainsFunc(t.granted, same) || slices.ContainsFunc(t.stored, same)
}

// List returns the tokens of the file, by name.
func (t *Tokens) List() ([]Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(); err != nil {
		return nil, err
	}
	list := slices.Clone(t.stored)
	slices.SortFunc(list, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Add makes a key, stores its hash durably, and returns the key: it cannot be
// had again. io/fs.ErrExist where the name is taken.
func (t *Tokens) Add(name string, role Role) (key string, err error) {
	if !validTokenName(name) {
		return "", fmt.Errorf("%q is not a name for a token: up to 64 of a-z A-Z 0-9 . _ -", clip(name))
	}
	if role.level() == 0 {
		return "", fmt.Errorf("there is no role %q", role)
	}
	err = t.change(func(list []Token) ([]Token, error) {
		if slices.ContainsFunc(list, func(o Token) bool { return o.Name == name }) {
			return nil, fmt.Errorf("token %q: %w", name, fs.ErrExist)
		}
		key = NewKey()
		sum := sha256.Sum256([]byte(key))
		return append(list, Token{Name: name, Role: role, Hash: hex.EncodeToString(sum[:]), Created: t.now().UTC()}), nil
	})
	if err != nil {
		return "", err
	}
	return key, nil
}

// Remove takes a token out of force. io/fs.ErrNotExist where there is none.
func (t *Tokens) Remove(name string) error {
	return t.change(func(list []Token) ([]Token, error) {
		kept := slices.DeleteFunc(list, func(o Token) bool { return o.Name == name })
		if len(kept) == len(list) {
			return nil, fmt.Errorf("token %q: %w", name, fs.ErrNotExist)
		}
		return kept, nil
	})
}

// Grant accepts a key, given by whoever runs the server, while this lasts.
func (t *Tokens) Grant(name string, role Role, key string) error {
	if !validKey(key) {
		return errors.New("a key is 1 to 512 printable ASCII characters without spaces")
	}
	sum := sha256.Sum256([]byte(key))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.granted = append(t.granted, Token{Name: name, Role: role, Hash: hex.EncodeToString(sum[:]), Created: t.now().UTC()})
	return nil
}

// First makes an admin token when nothing is accepted yet, and returns its key
// for the one time that it can be shown; "" when there is a token already.
func (t *Tokens) First() (key string, err error) {
	t.mu.Lock()
	some := len(t.granted)+len(t.stored) > 0
	t.mu.Unlock()
	if some {
		return "", nil
	}
	key, err = t.Add("first", RoleAdmin)
	if errors.Is(err, fs.ErrExist) { // another process was quicker
		return "", nil
	}
	return key, err
}

// change rewrites the file under a lock that other processes obey too.
func (t *Tokens) change(fn func([]Token) ([]Token, error)) (err error) {
	lock, err := os.OpenFile(t.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the token file: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := lockFile(lock, true); err != nil {
		return fmt.Errorf("lock the token file: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(); err != nil {
		return err
	}
	list, err := fn(slices.Clone(t.stored))
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(tokenFile{Version: 1, Tokens: list}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the token file: %w", err)
	}
	if err := atomicfile.WriteFile(t.path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the token file: %w", err)
	}
	return t.read()
}

// NewKey makes a key of 256 random bits.
func NewKey() string {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return "syncfs_" + base64.RawURLEncoding.EncodeToString(secret)
}

func validKey(key string) bool {
	if key == "" || len(key) > 512 {
		return false
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

func validTokenName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}
