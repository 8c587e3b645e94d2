package store

import (
	"sync"

	"github.com/syncfs/syncfs/internal/seal"
)

// sealerCache keeps the keys of packs that are being read. The zero value is
// ready.
type sealerCache struct {
	mu    sync.Mutex // guards packs
	packs map[[seal.PackHeader]byte]*seal.Pack
}

const maxSealers = 256

func (c *sealerCache) get(keys *seal.Keys, header [seal.PackHeader]byte) (*seal.Pack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.packs[header]; ok {
		return p, nil
	}
	p, err := keys.OpenPack(header[:])
	if err != nil {
		return nil, err
	}
	if c.packs == nil || len(c.packs) >= maxSealers {
		c.packs = map[[seal.PackHeader]byte]*seal.Pack{}
	}
	c.packs[header] = p
	return p, nil
}
